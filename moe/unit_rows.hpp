#pragma once
// Rows of length 1, for cosines.

#include "ops/binary.hpp"
#include "ops/reduce.hpp"
#include "ops/unary.hpp"

namespace simsmoe::moe {

// |x[..., :]|, at least 1e-6: so that a row of zeros can be divided by it. [..., D] -> [...]
inline Variable row_lengths(const Variable& x, bool keep_axis = false) {
  return ops::maximum(ops::l2_norm(x, -1, keep_axis), 1e-6);
}

// y[..., :] = x[..., :] / |x[..., :]|
inline Variable unit_rows(const Variable& x) { return ops::div(x, row_lengths(x, true)); }

}  // namespace simsmoe::moe
