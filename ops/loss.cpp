#include "ops/loss.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"

// The mathematics of the family.

namespace simsmoe::ops {

namespace {

// A loss and its statistics are kept in the type that kernels compute in.
DType loss_dtype(const Variable& x) { return x.dtype() == DType::f64 ? DType::f64 : DType::f32; }

}  // namespace

Variable cross_entropy(const Variable& logits, const Tensor& targets, std::int64_t ignore_index) {
  const profile::Scope scope("cross_entropy");
  check_float("cross_entropy", logits);
  check_index("cross_entropy", targets);
  SMX_CHECK(logits.rank() == 2 && targets.rank() == 1 && logits.size(0) == targets.size(0) &&
                logits.device() == targets.device(),
            "[cross_entropy] expected logits [N, V] and targets [N] on one device, got {} and {}",
            describe(logits.value()), describe(targets));
  const Tensor max = Tensor::empty({logits.size(0)}, loss_dtype(logits), logits.device());
  const Tensor sum = Tensor::empty_like(max);
  Tensor loss = Tensor::empty({}, loss_dtype(logits), logits.device());
  SMX_DISPATCH(cross_entropy_forward, loss.device(), logits.value(), targets, ignore_index, max, sum, loss);
  //  loss = 1/count sum_r (lse_r - x_(r, target_r)),   lse_r = log sum_j exp(x_(r, j))
  //  dlse_r / dx_(r, j) = exp(x_(r, j) - lse_r) = exp(x_(r, j) - max_r) / sum_r        the softmax
  //  dx_(r, j) = dloss / count (softmax_(r, j) - 1[j = target_r]), and 0 in rows that do not count
  return record("cross_entropy", {logits}, loss,
                [logits = logits.value(), targets, ignore_index, max, sum](BackwardContext& ctx) {
                  SMX_DISPATCH(cross_entropy_backward, logits.device(), logits, targets, ignore_index, max,
                               sum, ctx.grad_output(), ctx.target(0));
                });
}

Variable mse(const Variable& a, const Variable& b) {
  const profile::Scope scope("mse");
  check_float("mse", a);
  check_alike("mse", a, b);
  SMX_CHECK(a.shape() == b.shape() && a.value().numel() > 0,
            "[mse] expected two tensors of one shape that is not empty, got {} and {}", describe(a.value()),
            describe(b.value()));
  Tensor loss = Tensor::empty({}, loss_dtype(a), a.device());
  SMX_DISPATCH(mse_forward, loss.device(), a.value(), b.value(), loss);
  //  loss = 1/n sum_i (a_i - b_i)^2
  //  da = 2/n (a - b) dloss,   db = 2/n (b - a) dloss
  return record("mse", {a, b}, loss, [a = a.value(), b = b.value()](BackwardContext& ctx) {
    const Tensor& dloss = ctx.grad_output();
    if (ctx.wants(0)) SMX_DISPATCH(mse_backward, a.device(), a, b, dloss, ctx.target(0));
    if (ctx.wants(1)) SMX_DISPATCH(mse_backward, a.device(), b, a, dloss, ctx.target(1));
  });
}

}  // namespace simsmoe::ops
