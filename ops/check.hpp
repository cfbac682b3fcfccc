#pragma once
// Argument checks that every op shares. Each accepts an undefined operand and says so in the op's name.

#include <string_view>

#include "engine/tape.hpp"

namespace simsmoe::ops {

// The value of an operand, undefined when that is.
inline Tensor value_or_undefined(const Variable& x) { return x.defined() ? x.value() : Tensor(); }

inline void check_defined(std::string_view op, const Tensor& x) {
  SMX_CHECK(x.defined(), "[{}] expected a tensor, got an undefined one", op);
}
inline void check_defined(std::string_view op, const Variable& x) {
  check_defined(op, value_or_undefined(x));
}

inline void check_float(std::string_view op, const Tensor& x) {
  SMX_CHECK(x.defined() && is_float(x.dtype()), "[{}] expected a float tensor, got {}", op, describe(x));
}
inline void check_float(std::string_view op, const Variable& x) { check_float(op, value_or_undefined(x)); }

inline void check_index(std::string_view op, const Tensor& x) {
  SMX_CHECK(x.defined() && is_index(x.dtype()), "[{}] expected an integer tensor (i32 or i64), got {}", op,
            describe(x));
}

// Same dtype and device, for operands that one kernel reads together.
inline void check_alike(std::string_view op, const Tensor& a, const Tensor& b) {
  check_defined(op, a);
  check_defined(op, b);
  SMX_CHECK(a.dtype() == b.dtype() && a.device() == b.device(), "[{}] operands differ: {} and {}", op,
            describe(a), describe(b));
}
inline void check_alike(std::string_view op, const Variable& a, const Variable& b) {
  check_alike(op, value_or_undefined(a), value_or_undefined(b));
}

// `axis` counted from the first; negative ones count from the end.
inline int check_axis(std::string_view op, const Tensor& x, int axis) {
  check_defined(op, x);
  SMX_CHECK(-x.rank() <= axis && axis < x.rank(), "[{}] expected an axis of {}, got axis {}", op, describe(x),
            axis);
  return x.shape().normal_axis(axis);
}
inline int check_axis(std::string_view op, const Variable& x, int axis) {
  return check_axis(op, value_or_undefined(x), axis);
}

}  // namespace simsmoe::ops
