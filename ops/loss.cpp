#include "ops/loss.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"

// The mathematics of the family.

namespace simsmoe::ops {

namespace {

// A loss and its statistics are kept in the type that kernels compute in.
DType loss_dtype(const Variable& x) { return x.dtype() == DType::f64 ? DType::f64 : DType::f32; }

void check_options(const Variable& logits, const CrossEntropyOptions& options) {
  SMX_CHECK(options.label_smoothing >= 0.0 && options.label_smoothing <= 1.0,
            "[cross_entropy] expected label_smoothing in [0, 1], got {}", options.label_smoothing);
  const Tensor& weights = options.class_weights;
  SMX_CHECK(!weights.defined() || (weights.shape() == Shape{logits.size(-1)} &&
                                   weights.dtype() == logits.dtype() && weights.device() == logits.device()),
            "[cross_entropy] expected class_weights {} [{}] on the device of the logits, got {}",
            name_of(logits.dtype()), logits.size(-1), describe(weights));
}

}  // namespace

Variable cross_entropy(const Variable& logits, const Tensor& targets, const CrossEntropyOptions& options) {
  const profile::Scope scope("cross_entropy");
  check_float("cross_entropy", logits);
  check_index("cross_entropy", targets);
  SMX_CHECK(logits.rank() >= 1 && logits.shape().without(-1) == targets.shape() &&
                logits.device() == targets.device(),
            "[cross_entropy] expected logits [..., V] and targets [...] on one device, got {} and {}",
            describe(logits.value()), describe(targets));
  check_options(logits, options);
  const std::int64_t n = targets.numel(), v = logits.size(-1);
  const Tensor rows = logits.value().view({n, v}), chosen = targets.view({n});
  const Tensor max = Tensor::empty({n}, loss_dtype(logits), logits.device());
  const Tensor sum = Tensor::empty_like(max);
  const bool reduced = options.reduction != Reduction::none;
  const Tensor loss = Tensor::empty(reduced ? Shape{} : targets.shape(), loss_dtype(logits), logits.device());
  SMX_DISPATCH(cross_entropy_forward, loss.device(), rows, chosen, options, max, sum, loss);
  //  loss_r = sum_j q_j (lse - x_j),   q_j = s w_j / V + (1 - s) w_t 1[j = t],   lse = log sum_j exp(x_j)
  //  dlse / dx_j = exp(x_j - lse) = exp(x_j - max) / sum = p_j            the softmax
  //  dloss_r / dx_j = Q p_j - q_j,   Q = sum_j q_j, and 0 in rows that do not count; without smoothing and
  //  weights p_j - 1[j = t]
  return record("cross_entropy", {logits}, loss, [rows, chosen, options, max, sum](BackwardContext& ctx) {
    const GradTarget dlogits = ctx.target(0);
    SMX_DISPATCH(cross_entropy_backward, rows.device(), rows, chosen, options, max, sum, ctx.grad_output(),
                 GradTarget{dlogits.buffer.view(rows.shape()), dlogits.accumulate});
  });
}

Variable cross_entropy(const Variable& logits, const Tensor& targets, std::int64_t ignore_index) {
  return cross_entropy(logits, targets, CrossEntropyOptions{.ignore_index = ignore_index});
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
