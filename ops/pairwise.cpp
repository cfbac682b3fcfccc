#include "ops/pairwise.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"

namespace simsmoe::ops {

Variable squared_distances(const Variable& x) {
  const profile::Scope scope("squared_distances");
  check_float("squared_distances", x);
  SMX_CHECK(x.rank() == 2, "[squared_distances] expected [n, p], got {}", describe(x.value()));
  Tensor y = Tensor::empty({x.size(0), x.size(0)}, x.dtype(), x.device());
  SMX_DISPATCH(squared_distances_forward, y.device(), x.value(), y);
  //  y_ij = |x_i - x_j|^2: row i stands in y_ij and in y_ji for every j
  //  dx_i = 2 sum_j (dy_ij + dy_ji) (x_i - x_j)
  return record("squared_distances", {x}, y, [x = x.value()](BackwardContext& ctx) {
    SMX_DISPATCH(squared_distances_backward, x.device(), x, ctx.grad_output(), ctx.target(0));
  });
}

Tensor median_above_diagonal(const Tensor& x) {
  const profile::Scope scope("median_above_diagonal");
  check_float("median_above_diagonal", x);
  SMX_CHECK(x.rank() == 2 && x.size(0) == x.size(1),
            "[median_above_diagonal] expected a square matrix, got {}", describe(x));
  Tensor y = Tensor::empty({}, x.dtype(), x.device());
  SMX_DISPATCH(median_above_diagonal, x.device(), x, y);
  return y;
}

}  // namespace simsmoe::ops
