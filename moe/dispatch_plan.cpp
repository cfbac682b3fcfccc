// Counting, the optional capacity, and the stable partition of ops/routing.
#include "moe/dispatch_plan.hpp"

#include <algorithm>
#include <charconv>

#include "ops/choices.hpp"

namespace simsmoe::moe {

namespace {

__extension__ using Wide = unsigned __int128;

// A decimal number, digits * 10^exponent.
struct Decimal {
  std::uint64_t digits = 0;
  int exponent = 0;
};

// The shortest that is this number in double: what a person wrote, who means 55 by 0.55 * 100.
Decimal decimal_of(double x) {
  char text[32];
  const char* const end = std::to_chars(text, text + sizeof text, x, std::chars_format::scientific).ptr;
  Decimal d;
  const char* at = text;
  for (; *at != 'e'; ++at)
    if (*at != '.') {
      d.digits = 10 * d.digits + static_cast<std::uint64_t>(*at - '0');
      if (at > text) --d.exponent;
    }
  int power = 0;
  std::from_chars(at[1] == '+' ? at + 2 : at + 1, end, power);
  d.exponent += power;
  return d;
}

}  // namespace

std::int64_t capacity(double factor, std::int64_t copies, std::int64_t num_experts) {
  if (factor >= 2.0 * static_cast<double>(num_experts)) return copies;  // and all below fits
  const Decimal d = decimal_of(factor);
  Wide wanted = static_cast<Wide>(d.digits) * static_cast<Wide>(copies),
       room = static_cast<Wide>(num_experts);
  for (int i = 0; i < d.exponent; ++i) wanted *= 10;
  for (int i = 0; i < -d.exponent && room < wanted; ++i) room *= 10;
  return std::min(copies, static_cast<std::int64_t>((wanted + room - 1) / room));
}

DispatchPlan make_plan(const Tensor& experts, std::int64_t num_experts, double capacity_factor) {
  DispatchPlan plan;
  plan.counts = ops::expert_histogram(experts, num_experts).to(kCpu);
  if (capacity_factor == 0.0) {
    plan.partition = ops::stable_partition(experts, plan.counts);
    return plan;
  }
  const std::int64_t most = capacity(capacity_factor, experts.numel(), num_experts);
  const Tensor kept = plan.counts.clone();
  for (std::int64_t& count : kept.host<std::int64_t>()) {
    plan.dropped += std::max<std::int64_t>(count - most, 0);
    count = std::min(count, most);
  }
  plan.partition = ops::stable_partition(
      plan.dropped > 0 ? ops::limit_choices(experts, num_experts, most) : experts, kept);
  return plan;
}

}  // namespace simsmoe::moe
