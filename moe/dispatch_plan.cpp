// Counting, the optional capacity, and the stable partition of ops/routing.
#include "moe/dispatch_plan.hpp"

#include <algorithm>
#include <cmath>

namespace simsmoe::moe {

namespace {

// A copy of `experts` in which every choice beyond the first `capacity` of an expert is -1.
Tensor drop_overflow(const Tensor& experts, std::int64_t num_experts, std::int64_t capacity) {
  const Tensor kept = experts.to(kCpu).clone();
  std::vector<std::int64_t> taken(static_cast<std::size_t>(num_experts), 0);
  for (std::int32_t& expert : kept.host<std::int32_t>())
    if (expert >= 0 && taken[static_cast<std::size_t>(expert)]++ >= capacity) expert = -1;
  return kept.to(experts.device());
}

}  // namespace

DispatchPlan make_plan(const Tensor& experts, std::int64_t num_experts, double capacity_factor) {
  DispatchPlan plan;
  plan.counts = ops::expert_histogram(experts, num_experts).to(kCpu);
  Tensor kept = experts;
  if (capacity_factor > 0.0) {
    const auto copies = static_cast<double>(experts.numel());
    const double share = copies / static_cast<double>(num_experts);
    // No expert can get more than all copies, so a huge factor need not fit an integer.
    const auto capacity = static_cast<std::int64_t>(std::ceil(std::min(capacity_factor * share, copies)));
    for (const std::int64_t count : plan.counts.host<std::int64_t>())
      plan.dropped += std::max<std::int64_t>(count - capacity, 0);
    if (plan.dropped > 0) kept = drop_overflow(experts, num_experts, capacity);
  }
  plan.partition = ops::stable_partition(kept, num_experts);
  return plan;
}

}  // namespace simsmoe::moe
