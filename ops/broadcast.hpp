#pragma once
// How two shapes broadcast: the common shape, and a plan of few axes along which each operand either advances
// or stays. Axes that behave alike are merged: equal shapes become one axis, [N, D] + [D] two.

#include <array>

#include "engine/shape.hpp"

namespace simsmoe {

enum class Operand : std::uint8_t { a, b };

struct BroadcastAxis {
  std::int64_t size;
  std::int64_t a, b;  // stride of each operand in elements; 0: it repeats along this axis
};

struct BroadcastPlan {
  std::array<BroadcastAxis, Shape::kMaxRank> axes{};  // outermost first
  int count = 0;                                      // at least 1
  std::int64_t numel = 0;
  // The innermost axis; along it operands advance by 1 or stay.
  const BroadcastAxis& inner() const { return axes[static_cast<std::size_t>(count - 1)]; }
};

// NumPy's rule: aligned at the last axis, a size of 1 or a missing axis repeats. Throws an Error that names
// both shapes where they do not fit.
Shape broadcast_shape(std::string_view op, const Shape& a, const Shape& b);

// `y` is broadcast_shape(a, b), or a shape that it broadcasts to.
BroadcastPlan broadcast_plan(const Shape& a, const Shape& b, const Shape& y);

}  // namespace simsmoe
