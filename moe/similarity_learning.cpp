// Counting, choosing, comparing; the algorithm is in the header.
#include "moe/similarity_learning.hpp"

#include <algorithm>

#include "ops/binary.hpp"
#include "ops/choices.hpp"
#include "ops/compare.hpp"
#include "ops/index.hpp"
#include "ops/layout.hpp"
#include "ops/matmul.hpp"
#include "ops/sort.hpp"
#include "ops/unary.hpp"

namespace simsmoe::moe {

Tensor compared_experts(const RouterOutput& route) {
  if (route.experts.size(1) != 1) return route.experts;
  const Variable& scores = route.logits.defined() ? route.logits : route.probabilities;
  if (!scores.defined())
    throw UserError(
        "similarity.enabled with moe.k = 1 compares with the runner-up, and this router has no scores");
  return ops::with_runner_up(route.experts, ops::topk(scores.detach(), 2).indices);
}

// --- when ---------------------------------------------------------------------------------------------------

PairCounters::PairCounters(const nn::Scope& scope, std::int64_t experts, double frequency)
    : experts_(experts),
      frequency_(frequency),
      counters_(scope.buffer("counters", {ops::pair_count(experts)}, DType::f64)) {}

PairCounters::Counts PairCounters::after(std::span<const Tensor> shares) const {
  const auto number = [&](double value) { return Tensor::full({}, value, DType::f64, counters_.device()); };
  Counts counts{counters_, {}};
  for (const Tensor& share : shares) {
    const Variable sum = ops::add(Variable(counts.c), Variable(share));
    counts.due = ops::greater(sum.value(), number(frequency_));
    counts.c = ops::where(counts.due, Variable(number(0.0)), sum).value();
  }
  return counts;
}

std::vector<ExpertPair> PairCounters::due(const Tensor& choices, nn::ForwardContext& ctx) const {
  const Variable met(ops::count_pairs(choices, experts_, DType::f64));
  ctx.observed.note(*this, ops::div(met, static_cast<double>(choices.size(0))).value());
  const std::vector<std::uint8_t> above = after(ctx.observed.noted(*this)).due.to_vector<std::uint8_t>();
  std::vector<ExpertPair> pairs;
  for (std::int64_t a = 0; a < experts_; ++a)
    for (std::int64_t b = a + 1; b < experts_; ++b)
      if (above[static_cast<std::size_t>(ops::pair_number(a, b, experts_))] != 0) pairs.push_back({a, b});
  return pairs;
}

void PairCounters::end_step(std::span<const Tensor> seen, std::uint64_t /*step*/) const {
  counters_.copy_from(after(seen).c);
}

// --- what the log shows -------------------------------------------------------------------------------------

LastComparison::LastComparison(const nn::Scope& scope) : last_(scope.buffer("last", {4}, DType::f64)) {}

// As of the last pass of this step, or of the last step.
Tensor LastComparison::now(const nn::ForwardContext& ctx) const {
  const auto noted = ctx.observed.noted(*this);
  return noted.empty() ? last_ : noted.back();
}

void LastComparison::remember(const Likeness& seen, std::int64_t tokens, nn::ForwardContext& ctx) const {
  const auto number = [&](double value) {
    return Variable(Tensor::full({1}, value, DType::f64, last_.device()));
  };
  const Variable kernel = seen.mean_kernel.defined() ? Variable(seen.mean_kernel.view({1})) : number(0.0);
  const Variable checks = ops::add(Variable(now(ctx).slice0(3, 4)), 1.0);
  ctx.observed.note(*this, ops::concat({ops::reshape(seen.value.detach(), {1}),
                                        number(static_cast<double>(tokens)), kernel, checks},
                                       0)
                               .value());
}

void LastComparison::add_metrics(const std::string& where, nn::ForwardContext& ctx) const {
  const std::vector<double> last = now(ctx).to_vector<double>();
  const auto add = [&](std::string_view name, double value) {
    ctx.metrics.add(where, std::string(name), value, nn::Combine::last);
  };
  add("similarity_checks", last[3]);
  if (last[3] == 0.0) return;
  add("similarity", last[0]);
  add("similarity_tokens", last[1]);
  add("similarity_kernel", last[2]);
}

void LastComparison::end_step(std::span<const Tensor> seen, std::uint64_t /*step*/) const {
  last_.copy_from(seen.back());
}

// --- comparing ----------------------------------------------------------------------------------------------

SimilarityLearning::SimilarityLearning(const nn::Scope& scope, const MoeOptions& options, std::int64_t dim)
    : options_(options.similarity.resolved(options.variant)),
      key_(scope.key("sample")),
      projection_(scope / "projection", dim, options.experts),
      counters_(scope, options.experts, options_.frequency),
      last_(scope) {}

// How alike two experts' outputs are. [n, D], [n, D]
Likeness SimilarityLearning::compare(const Variable& outputs_a, const Variable& outputs_b) const {
  const auto projected = [&](const Variable& y) {
    return ops::linear(nn::to_dtype(y, projection_.weight.dtype()), projection_.weight, projection_.bias);
  };
  return likeness(projected(outputs_a), projected(outputs_b), options_);
}

// The likeness on what the layer computed anyway; without a value where a copy was dropped or never made.
Likeness SimilarityLearning::known_likeness(const Tensor& tokens, ExpertPair pair, const RouterOutput& route,
                                            const DispatchPlan& plan, const Variable& outputs) const {
  const auto rows = [&](std::int64_t expert) {
    return ops::rows_of_choices(route.experts, plan.partition.position, tokens, expert);
  };
  const auto complete = [](const Tensor& of) {
    return std::ranges::all_of(of.to_vector<std::int64_t>(), [](std::int64_t row) { return row >= 0; });
  };
  const Tensor rows_a = rows(pair.a), rows_b = rows(pair.b);
  if (!complete(rows_a) || !complete(rows_b)) return {};
  return compare(ops::index_select(outputs.detach(), rows_a), ops::index_select(outputs.detach(), rows_b));
}

void SimilarityLearning::learn(const Variable& tokens, const RouterOutput& route, const DispatchPlan& plan,
                               const Variable& outputs, const Experts& experts, const std::string& where,
                               nn::ForwardContext& ctx) const {
  ctx.losses.declare("similarity");
  if (tokens.size(0) == 0) return;
  const Tensor choices = compared_experts(route);
  Variable loss;
  for (const ExpertPair pair : counters_.due(choices, ctx)) {
    const Tensor shared = ops::tokens_of_pair(choices, pair.a, pair.b, options_.max_tokens, key_, ctx.draw,
                                              static_cast<std::uint64_t>(ctx.first_token));
    const std::int64_t n = shared.size(0);
    if (n < options_.min_tokens) continue;
    const auto is_alike = [&](const Likeness& l) { return l.value.value().item() > options_.threshold; };
    if (options_.reuse_outputs) {
      const Likeness known = known_likeness(shared, pair, route, plan, outputs);
      if (known.value.defined() && !is_alike(known)) {
        last_.remember(known, n, ctx);
        continue;
      }
    }
    const Variable y =
        experts.forward_pair(ops::index_select(tokens.detach(), shared), pair.a, pair.b, ctx.compute_dtype);
    const Likeness seen = compare(ops::slice(y, 0, 0, n), ops::slice(y, 0, n, 2 * n));
    if (!seen.value.defined()) continue;
    last_.remember(seen, n, ctx);
    if (is_alike(seen)) loss = loss.defined() ? ops::add(loss, seen.value) : seen.value;
  }
  if (loss.defined())
    ctx.losses.add("similarity", where, options_.beta, nn::to_dtype(loss, projection_.weight.dtype()));
}

}  // namespace simsmoe::moe
