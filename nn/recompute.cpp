// The losses of the branch leave it as further results of one op, so that their gradients find the way back.

#include "nn/recompute.hpp"

#include <memory>
#include <utility>

#include "ops/recompute.hpp"

namespace simsmoe::nn {

Variable recomputed(const Variable& x, ForwardContext& ctx, const Branch& branch) {
  if (!ctx.recompute || Tape::current() == nullptr) return branch(x, ctx);
  ForwardContext again = ctx.settings(), first = again;
  again.observed = ctx.observed;  // what earlier passes of the step noted is part of what a pass depends on
  again.collect_metrics = again.compare_experts = false;
  first.observed = std::move(ctx.observed);
  first.metrics = std::move(ctx.metrics);
  auto use = std::make_shared<ForwardContext*>(&first);
  const Variables results = ops::recompute(x, [branch, again, use](const Variable& value) {
    ForwardContext own = again;
    ForwardContext& here = *use != nullptr ? **use : own;
    Variables all{branch(value, here)};
    for (const LossTerm& term : here.losses.terms()) all.push_back(term.value);
    return all;
  });
  *use = nullptr;
  const std::vector<LossTerm>& terms = first.losses.terms();
  for (std::size_t i = 0; i < terms.size(); ++i)
    ctx.losses.add(terms[i].name, terms[i].where, terms[i].weight, results[i + 1]);
  for (const std::string& name : first.losses.names()) ctx.losses.declare(name);
  ctx.metrics = std::move(first.metrics);
  ctx.observed = std::move(first.observed);
  return results.front();
}

}  // namespace simsmoe::nn
