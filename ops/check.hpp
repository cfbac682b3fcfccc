#pragma once
// Argument checks that every op shares.

#include <string_view>

#include "engine/tape.hpp"

namespace simsmoe::ops {

inline void check_float(std::string_view op, const Tensor& x) {
  SMX_CHECK(x.defined() && is_float(x.dtype()), "[{}] expected a float tensor, got {}", op, describe(x));
}
inline void check_float(std::string_view op, const Variable& x) { check_float(op, x.value()); }

inline void check_index(std::string_view op, const Tensor& x) {
  SMX_CHECK(x.defined() && is_index(x.dtype()), "[{}] expected an integer tensor (i32 or i64), got {}", op,
            describe(x));
}

// Same dtype and device, for operands that one kernel reads together.
inline void check_alike(std::string_view op, const Tensor& a, const Tensor& b) {
  SMX_CHECK(a.dtype() == b.dtype() && a.device() == b.device(), "[{}] operands differ: {} and {}", op,
            describe(a), describe(b));
}
inline void check_alike(std::string_view op, const Variable& a, const Variable& b) {
  check_alike(op, a.value(), b.value());
}

}  // namespace simsmoe::ops
