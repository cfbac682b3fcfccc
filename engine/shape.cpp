#include "engine/shape.hpp"

#include <fmt/ranges.h>

namespace simsmoe {

Shape::Shape(std::span<const std::int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  SMX_CHECK(dims.size() <= kMaxRank, "[shape] at most {} axes, got {}", kMaxRank, dims.size());
  std::int64_t product = 1;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    SMX_CHECK(dims[i] >= 0, "[shape] a size is negative: {}", dims);
    SMX_CHECK(!__builtin_mul_overflow(product, dims[i] == 0 ? 1 : dims[i], &product),
              "[shape] the number of elements of {} overflows", dims);
    dims_[i] = dims[i];
  }
}

int Shape::normal_axis(int axis) const {
  const int a = axis < 0 ? axis + rank_ : axis;
  SMX_CHECK(a >= 0 && a < rank_, "[shape] axis {} is outside of {}", axis, to_string());
  return a;
}

std::int64_t Shape::numel() const {
  std::int64_t n = 1;
  for (const std::int64_t d : dims()) n *= d;
  return n;
}

std::int64_t Shape::outer(int axis) const {
  std::int64_t n = 1;
  for (int i = 0, end = normal_axis(axis); i < end; ++i) n *= dims_[static_cast<std::size_t>(i)];
  return n;
}

std::int64_t Shape::inner(int axis) const {
  std::int64_t n = 1;
  for (int i = normal_axis(axis) + 1; i < rank_; ++i) n *= dims_[static_cast<std::size_t>(i)];
  return n;
}

Shape Shape::with(int axis, std::int64_t size) const {
  Shape s = *this;
  s.dims_[static_cast<std::size_t>(normal_axis(axis))] = size;
  return Shape(s.dims());
}

Shape Shape::without(int axis) const {
  Shape s;
  for (int i = 0, skip = normal_axis(axis); i < rank_; ++i)
    if (i != skip) s.dims_[static_cast<std::size_t>(s.rank_++)] = dims_[static_cast<std::size_t>(i)];
  return s;
}

Shape Shape::append(std::int64_t size) const {
  SMX_CHECK(rank_ < kMaxRank, "[shape] cannot append an axis to {}", to_string());
  Shape s = *this;
  s.dims_[static_cast<std::size_t>(s.rank_++)] = size;
  return Shape(s.dims());
}

std::string Shape::to_string() const { return fmt::format("[{}]", fmt::join(dims(), ", ")); }

}  // namespace simsmoe
