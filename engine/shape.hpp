#pragma once
// The sizes of a tensor: at most six, row-major, rank 0 for a scalar. Trivially copyable, so that a kernel
// can take one by value.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "engine/check.hpp"

namespace simsmoe {

class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;  // rank 0: one element
  Shape(std::initializer_list<std::int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const std::int64_t> dims);  // throws on a negative size, rank > 6 or overflow

  int rank() const { return rank_; }
  // Negative axes count from the end: shape[-1] is the innermost size. Throws when out of range.
  std::int64_t operator[](int axis) const { return dims_[static_cast<std::size_t>(normal_axis(axis))]; }
  std::int64_t numel() const;
  // Product of the sizes before / after `axis` (exclusive).
  std::int64_t outer(int axis) const;
  std::int64_t inner(int axis) const;
  int normal_axis(int axis) const;  // -1 -> rank - 1; throws when out of range

  Shape with(int axis, std::int64_t size) const;  // a copy with one size replaced
  Shape without(int axis) const;                  // a copy with one axis removed
  Shape append(std::int64_t size) const;          // a copy with one more axis at the end

  std::span<const std::int64_t> dims() const { return {dims_.data(), static_cast<std::size_t>(rank_)}; }
  bool operator==(const Shape&) const = default;
  std::string to_string() const;  // "[3, 7]"

 private:
  std::array<std::int64_t, kMaxRank> dims_{};  // unused entries stay 0, so that == may compare all of them
  int rank_ = 0;
};

}  // namespace simsmoe

template <>
struct fmt::formatter<simsmoe::Shape> : fmt::formatter<std::string> {
  auto format(const simsmoe::Shape& s, fmt::format_context& ctx) const {
    return fmt::formatter<std::string>::format(s.to_string(), ctx);
  }
};
