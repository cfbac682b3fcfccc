// Who is watched, and the bias as a composition of ops.
#include "moe/balance_policy.hpp"

#include "ops/binary.hpp"
#include "ops/layout.hpp"
#include "ops/reduce.hpp"
#include "ops/unary.hpp"

namespace simsmoe::moe {

void BalancePolicy::observe(const RouterOutput& route, nn::ForwardContext& ctx) const {
  if (ctx.training && route.experts.size(0) > 0) ctx.observed.note(*this, seen(route), group());
}

SelectionBias::SelectionBias(const nn::Scope& scope, std::int64_t experts, double rate)
    : rate_(rate), bias_(scope.buffer("selection_bias", {experts}, scope.store().dtype())) {}

Variable SelectionBias::preference(const Variable& scores) const {
  return ops::add(scores.detach(), Variable(bias_));
}

Tensor SelectionBias::seen(const RouterOutput& route) const {
  return counts_of_batch(route.experts, bias_.size(0));
}

void SelectionBias::end_step(std::span<const Tensor> seen, std::uint64_t /*step*/) const {
  const Variable counts = ops::reshape(Variable(nn::sum_of(seen)), bias_.shape());
  const Variable wanted = ops::sign(ops::sub(ops::mean(counts), counts));
  const Variable moved = ops::add(ops::cast(Variable(bias_), DType::f64), ops::scale(wanted, rate_));
  bias_.copy_from(ops::cast(ops::sub(moved, ops::mean(moved)), bias_.dtype()).value());
}

}  // namespace simsmoe::moe
