#include "ops/routing.hpp"

#include <limits>

#include "engine/profile.hpp"
#include "ops/check.hpp"

// The mathematics of the family. With P the [M, N] matrix that has a 1 where kept copy r belongs to token n,
// gather is y = P x and combine is y = P^T diag(w) h: the backward pass of each is the kernel of the other.

namespace simsmoe::ops {

namespace {

void check_experts(std::string_view op, const Tensor& experts, std::int64_t num_experts) {
  SMX_CHECK(experts.defined() && experts.dtype() == DType::i32, "[{}] expected experts i32, got {}", op,
            describe(experts));
  SMX_CHECK(num_experts >= 1, "[{}] expected at least one expert, got {}", op, num_experts);
}

void check_choices(const Tensor& experts, std::int64_t num_experts) {
  check_experts("stable_partition", experts, num_experts);
  SMX_CHECK(experts.rank() == 2 && experts.numel() <= std::numeric_limits<std::int32_t>::max(),
            "[stable_partition] expected experts [N, K] with N * K < 2^31, got {}", describe(experts));
}

// What every op with a plan asks of its arguments.
void check_plan(std::string_view op, const Variable& x, const Partition& plan) {
  check_float(op, x);
  SMX_CHECK(
      plan.position.defined() && plan.position.rank() == 2 && plan.order.defined() && plan.order.rank() == 1,
      "[{}] expected a plan with position [N, K] and order [M], got {} and {}", op, describe(plan.position),
      describe(plan.order));
  SMX_CHECK(x.rank() == 2 && x.device() == plan.position.device(),
            "[{}] expected a matrix on the device of the plan, got {}", op, describe(x.value()));
}

}  // namespace

Tensor expert_histogram(const Tensor& experts, std::int64_t num_experts) {
  const profile::Scope scope("expert_histogram");
  check_experts("expert_histogram", experts, num_experts);
  Tensor counts = Tensor::empty({num_experts}, DType::i64, experts.device());
  SMX_DISPATCH(expert_histogram, experts.device(), experts, counts);
  return counts;
}

Partition stable_partition(const Tensor& experts, std::int64_t num_experts) {
  check_choices(experts, num_experts);
  return stable_partition(experts, expert_histogram(experts, num_experts).to(kCpu));
}

Partition stable_partition(const Tensor& experts, const Tensor& counts) {
  const profile::Scope scope("stable_partition");
  SMX_CHECK(
      counts.defined() && counts.dtype() == DType::i64 && counts.rank() == 1 && counts.device().is_cpu(),
      "[stable_partition] expected counts i64 [E] on the host, got {}", describe(counts));
  const std::int64_t num_experts = counts.size(0);
  check_choices(experts, num_experts);
  std::vector<std::int64_t> offsets = counts.to_vector<std::int64_t>();
  std::int64_t kept = 0;
  for (std::int64_t& offset : offsets) {
    const std::int64_t count = offset;
    offset = kept;
    kept += count;
  }
  offsets.push_back(kept);
  Partition plan;
  plan.offsets = Tensor::from(offsets, {num_experts + 1});
  plan.order = Tensor::empty({kept}, DType::i32, experts.device());
  plan.position = Tensor::empty(experts.shape(), DType::i32, experts.device());
  SMX_DISPATCH(stable_partition, experts.device(), experts, plan.offsets, plan.order, plan.position);
  return plan;
}

Variable gather_tokens(const Variable& x, const Partition& plan) {
  const profile::Scope scope("gather_tokens");
  check_plan("gather_tokens", x, plan);
  SMX_CHECK(x.size(0) == plan.position.size(0), "[gather_tokens] expected x [{}, D] for the plan, got {}",
            plan.position.size(0), describe(x.value()));
  Tensor y = Tensor::empty({plan.order.size(0), x.size(1)}, x.dtype(), x.device());
  SMX_DISPATCH(gather_rows, y.device(), x.value(), Tensor(), plan, GradTarget{y, false});
  //  y_r = x_n for every kept copy r of token n  =>  dx_n = sum over its copies of dy_r: combine, weights 1
  return record("gather_tokens", {x}, y, [plan](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    SMX_DISPATCH(combine_rows, dy.device(), dy, Tensor(), plan, ctx.target(0));
  });
}

Variable combine_tokens(const Variable& h, const Variable& weights, const Partition& plan) {
  const profile::Scope scope("combine_tokens");
  check_plan("combine_tokens", h, plan);
  check_alike("combine_tokens", h, weights);
  SMX_CHECK(h.size(0) == plan.order.size(0), "[combine_tokens] expected h [{}, D] for the plan, got {}",
            plan.order.size(0), describe(h.value()));
  SMX_CHECK(weights.shape() == plan.position.shape(),
            "[combine_tokens] expected weights {} for the plan, got {}", plan.position.shape(),
            describe(weights.value()));
  Tensor y = Tensor::empty({weights.size(0), h.size(1)}, h.dtype(), h.device());
  SMX_DISPATCH(combine_rows, y.device(), h.value(), weights.value(), plan, GradTarget{y, false});
  //  y_n = sum_j w_(n, j) h_r with r = position(n, j), over the kept copies
  //  dh_r = w_(n, j) dy_n: gather, scaled by the weights;   dw_(n, j) = dy_n . h_r
  return record("combine_tokens", {h, weights}, y,
                [h = h.value(), weights = weights.value(), plan](BackwardContext& ctx) {
                  const Tensor& dy = ctx.grad_output();
                  if (ctx.wants(0)) SMX_DISPATCH(gather_rows, dy.device(), dy, weights, plan, ctx.target(0));
                  if (ctx.wants(1))
                    SMX_DISPATCH(combine_weights_backward, dy.device(), h, dy, plan, ctx.target(1));
                });
}

}  // namespace simsmoe::ops
