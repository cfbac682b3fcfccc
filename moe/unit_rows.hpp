#pragma once
// Rows of length 1, for cosines.

#include "ops/binary.hpp"
#include "ops/reduce.hpp"
#include "ops/unary.hpp"

namespace simsmoe::moe {

inline constexpr double kSmallestSquare = 1e-12;

// max(square, 1e-12): lengths below 1e-6 count as 1e-6, so that a row of zeros has a finite gradient.
inline Variable bounded_square(const Variable& square) {
  return ops::scale(ops::relu(ops::scale(square, 1.0, -kSmallestSquare)), 1.0, kSmallestSquare);
}

// |x[..., :]|. [..., D] -> [...]
inline Variable row_lengths(const Variable& x, bool keep_axis = false) {
  return ops::sqrt(bounded_square(ops::sum(ops::square(x), -1, keep_axis)));
}

// y[..., :] = x[..., :] / |x[..., :]|
inline Variable unit_rows(const Variable& x) { return ops::div(x, row_lengths(x, true)); }

}  // namespace simsmoe::moe
