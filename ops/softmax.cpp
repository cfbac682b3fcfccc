#include "ops/softmax.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"

// The mathematics of the family. Every op subtracts the row's maximum before exp, so nothing overflows.

namespace simsmoe::ops {

namespace {

void check_rows(std::string_view op, const Variable& x) {
  check_float(op, x);
  SMX_CHECK(x.rank() >= 1 && x.size(-1) >= 1, "[{}] expected [..., n] with n >= 1, got {}", op,
            describe(x.value()));
}

}  // namespace

Variable softmax(const Variable& x) {
  const profile::Scope scope("softmax");
  check_rows("softmax", x);
  Tensor y = Tensor::empty_like(x.value());
  SMX_DISPATCH(softmax_forward, y.device(), x.value(), y);
  //  dx = y * (dy - sum(dy * y)): the Jacobian is diag(y) - y y^T, so x itself is not needed
  return record("softmax", {x}, y, [y](BackwardContext& ctx) {
    SMX_DISPATCH(softmax_backward, y.device(), y, ctx.grad_output(), ctx.target(0));
  });
}

Variable log_softmax(const Variable& x) {
  const profile::Scope scope("log_softmax");
  check_rows("log_softmax", x);
  Tensor y = Tensor::empty_like(x.value());
  SMX_DISPATCH(log_softmax_forward, y.device(), x.value(), y);
  //  dx = dy - exp(y) * sum(dy): the Jacobian is I - 1 softmax(x)^T
  return record("log_softmax", {x}, y, [y](BackwardContext& ctx) {
    SMX_DISPATCH(log_softmax_backward, y.device(), y, ctx.grad_output(), ctx.target(0));
  });
}

Variable logsumexp(const Variable& x) {
  const profile::Scope scope("logsumexp");
  check_rows("logsumexp", x);
  Tensor lse = Tensor::empty(x.shape().without(-1), x.dtype(), x.device());
  SMX_DISPATCH(logsumexp_forward, lse.device(), x.value(), lse);
  //  dx = softmax(x) * dlse, from x alone: exp(x - lse) would multiply the rounding of a large lse
  return record("logsumexp", {x}, lse, [x = x.value()](BackwardContext& ctx) {
    SMX_DISPATCH(logsumexp_backward, x.device(), x, ctx.grad_output(), ctx.target(0));
  });
}

}  // namespace simsmoe::ops
