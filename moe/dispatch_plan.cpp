// Counting, the optional capacity, and the stable partition of ops/routing.
#include "moe/dispatch_plan.hpp"

#include <algorithm>
#include <cmath>

#include "ops/choices.hpp"

namespace simsmoe::moe {

namespace {

// C of the header. No expert can get more than all copies, so a huge factor need not fit an integer.
std::int64_t capacity_of(double factor, std::int64_t copies, std::int64_t num_experts) {
  const auto all = static_cast<double>(copies);
  return static_cast<std::int64_t>(
      std::ceil(std::min(factor * (all / static_cast<double>(num_experts)), all)));
}

}  // namespace

DispatchPlan make_plan(const Tensor& experts, std::int64_t num_experts, double capacity_factor) {
  DispatchPlan plan;
  plan.counts = ops::expert_histogram(experts, num_experts).to(kCpu);
  if (capacity_factor == 0.0) {
    plan.partition = ops::stable_partition(experts, plan.counts);
    return plan;
  }
  const std::int64_t capacity = capacity_of(capacity_factor, experts.numel(), num_experts);
  const Tensor kept = plan.counts.clone();
  for (std::int64_t& count : kept.host<std::int64_t>()) {
    plan.dropped += std::max<std::int64_t>(count - capacity, 0);
    count = std::min(count, capacity);
  }
  plan.partition = ops::stable_partition(
      plan.dropped > 0 ? ops::limit_choices(experts, num_experts, capacity) : experts, kept);
  return plan;
}

}  // namespace simsmoe::moe
