#pragma once
// The axes that an op works along, and a tensor seen from them.

#include <array>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "engine/tape.hpp"

namespace simsmoe {

// A few axes, without memory of their own.
class AxisList {
 public:
  void push_back(int axis) {
    SMX_CHECK(size_ < axes_.size(), "[axes] expected at most {} axes", axes_.size());
    axes_[size_++] = axis;
  }
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  int operator[](std::size_t i) const { return axes_[i]; }
  int front() const { return axes_[0]; }
  int back() const { return axes_[size_ - 1]; }
  int* begin() { return axes_.data(); }
  int* end() { return axes_.data() + size_; }
  const int* begin() const { return axes_.data(); }
  const int* end() const { return axes_.data() + size_; }

 private:
  std::array<int, Shape::kMaxRank> axes_{};
  std::size_t size_ = 0;
};

}  // namespace simsmoe

namespace simsmoe::ops {

// One axis, several, or all: sum(x, 1), sum(x, {0, -1}), sum(x, Axes::all()). Negative ones count from the
// end. That each exists and is named once is checked by the op.
class Axes {
 public:
  Axes(int axis) { list_.push_back(axis); }
  Axes(std::initializer_list<int> axes) : Axes(std::span(axes.begin(), axes.size())) {}
  Axes(const std::vector<int>& axes) : Axes(std::span(axes)) {}
  explicit Axes(std::span<const int> axes) {
    for (const int axis : axes) list_.push_back(axis);
  }
  static Axes all() {
    Axes axes{std::span<const int>()};
    axes.all_ = true;
    return axes;
  }

  bool are_all() const { return all_; }
  const AxisList& list() const { return list_; }  // empty for all

 private:
  AxisList list_;
  bool all_ = false;
};

}  // namespace simsmoe::ops

namespace simsmoe {

// A tensor seen from one axis or from neighbours: element (o, j, i) lies at (o * n + j) * inner + i.
struct AxisView {
  std::int64_t outer, n, inner;
};

inline AxisView view_from(const Shape& shape, int axis) {
  return {shape.outer(axis), shape[axis], shape.inner(axis)};
}

// What an op was asked for: the chosen axes and the others, ascending and counted from the first.
struct AxisChoice {
  AxisList chosen, others;
};

// Throws "[op] expected ..." when x is undefined, no axis is named, one twice, or one that x lacks.
AxisChoice choose_axes(std::string_view op, const Variable& x, const ops::Axes& axes);

// `shape` with the chosen axes removed, or kept with size 1.
Shape reduced_shape(const Shape& shape, const AxisChoice& choice, bool keep);
// The product of their sizes.
std::int64_t chosen_numel(const Shape& shape, const AxisChoice& choice);

// x: [...] -> [others..., chosen...], permuted where that is another order, and the way back.
Variable with_chosen_last(const Variable& x, const AxisChoice& choice);
Variable from_chosen_last(const Variable& y, const AxisChoice& choice);

}  // namespace simsmoe
