// Counting, choosing, comparing; the algorithm is in the header.
#include "moe/similarity_learning.hpp"

#include <algorithm>

#include "engine/philox.hpp"
#include "ops/binary.hpp"
#include "ops/index.hpp"
#include "ops/layout.hpp"
#include "ops/matmul.hpp"
#include "ops/routing.hpp"

namespace simsmoe::moe {

namespace {

// The rows of x with these numbers. x: [m, D] -> [n, D]
Variable rows_of(const Variable& x, const std::vector<std::int64_t>& rows) {
  return ops::index_select(x, Tensor::from(rows, {static_cast<std::int64_t>(rows.size())}).to(x.device()));
}

}  // namespace

Tensor compared_experts(const RouterOutput& route) {
  Tensor experts = route.experts.to(kCpu);
  const std::int64_t tokens = experts.size(0);
  if (experts.size(1) != 1) return experts;
  const Variable& scores = route.logits.defined() ? route.logits : route.probabilities;
  if (!scores.defined())
    throw UserError(
        "similarity.enabled with moe.k = 1 compares with the runner-up, and this router has no scores");
  if (tokens == 0) return experts;
  const std::vector<std::int32_t> best = ops::topk(scores.detach(), 2).indices.to_vector<std::int32_t>();
  const std::vector<std::int32_t> chosen = experts.to_vector<std::int32_t>();
  std::vector<std::int32_t> both;
  for (std::size_t t = 0; t < chosen.size(); ++t) {
    both.push_back(chosen[t]);
    both.push_back(best[2 * t] == chosen[t] ? best[2 * t + 1] : best[2 * t]);
  }
  return Tensor::from(both, {tokens, 2});
}

SimilarityLearning::SimilarityLearning(const nn::Scope& scope, const MoeOptions& options, std::int64_t dim)
    : options_(options.similarity.resolved(options.variant)),
      experts_(options.experts),
      key_(scope.key("sample")),
      projection_(scope / "projection", dim, options.experts),
      counters_(scope.buffer("counters", {options.experts * (options.experts - 1) / 2}, DType::f64)),
      last_(scope.buffer("last", {4}, DType::f64)) {}

// Row after row of the strict upper triangle.
std::size_t SimilarityLearning::counter(ExpertPair pair) const {
  return static_cast<std::size_t>(pair.a * (2 * experts_ - pair.a - 1) / 2 + pair.b - pair.a - 1);
}

// Counts the pairs of this batch; those above f* start again from 0 and are returned in order.
std::vector<ExpertPair> SimilarityLearning::due_pairs(const Tensor& choices) {
  const std::int64_t tokens = choices.size(0);
  std::vector<double> counts = counters_.to_vector<double>();
  std::vector<std::int64_t> met(counts.size(), 0);
  for_each_pair(choices, [&](ExpertPair pair) { ++met[counter(pair)]; });
  std::vector<ExpertPair> due;
  for (std::int64_t a = 0; a < experts_; ++a)
    for (std::int64_t b = a + 1; b < experts_; ++b) {
      double& count = counts[counter({a, b})];
      count += static_cast<double>(met[counter({a, b})]) / static_cast<double>(tokens);
      if (!(count > options_.frequency)) continue;
      count = 0.0;
      due.push_back({a, b});
    }
  counters_.copy_from(Tensor::from(counts, counters_.shape()));
  return due;
}

// The tokens that chose both, at most max_tokens of them: those that drew the smallest numbers.
std::vector<std::int64_t> SimilarityLearning::compared_tokens(const Tensor& choices, ExpertPair pair,
                                                              std::uint64_t draw) const {
  std::vector<std::int64_t> shared = shared_tokens(choices, pair);
  if (static_cast<std::int64_t>(shared.size()) <= options_.max_tokens) return shared;
  std::ranges::stable_sort(
      shared, {}, [&](std::int64_t t) { return random_bits(key_, draw, static_cast<std::uint64_t>(t)); });
  shared.resize(static_cast<std::size_t>(options_.max_tokens));
  std::ranges::sort(shared);
  return shared;
}

// How alike two experts' outputs are. [n, D], [n, D]
Likeness SimilarityLearning::compare(const Variable& outputs_a, const Variable& outputs_b) const {
  const auto projected = [&](const Variable& y) {
    return ops::linear(nn::to_dtype(y, projection_.weight.dtype()), projection_.weight, projection_.bias);
  };
  return likeness(projected(outputs_a), projected(outputs_b), options_);
}

// Keeps a comparison that had a value for the metrics.
void SimilarityLearning::remember(const Likeness& seen, std::int64_t tokens) const {
  const double checks = last_.to_vector<double>()[3] + 1.0;
  last_.copy_from(Tensor::from(
      std::vector<double>{seen.value.value().item(), static_cast<double>(tokens), seen.mean_kernel, checks},
      {4}));
}

// The likeness on what the layer computed anyway; without a value where a copy was dropped or never made.
Likeness SimilarityLearning::known_likeness(const std::vector<std::int64_t>& tokens, ExpertPair pair,
                                            const RouterOutput& route, const DispatchPlan& plan,
                                            const Variable& outputs) const {
  const std::vector<std::int64_t> choices = route.experts.to_vector<std::int64_t>();
  const std::vector<std::int64_t> position = plan.partition.position.to_vector<std::int64_t>();
  const std::int64_t k = route.experts.size(1);
  std::vector<std::int64_t> rows_a, rows_b;
  for (const std::int64_t t : tokens)
    for (std::int64_t at = t * k; at < (t + 1) * k; ++at) {
      const auto i = static_cast<std::size_t>(at);
      if (position[i] < 0) continue;
      if (choices[i] == pair.a) rows_a.push_back(position[i]);
      if (choices[i] == pair.b) rows_b.push_back(position[i]);
    }
  if (rows_a.size() != tokens.size() || rows_b.size() != tokens.size()) return {};
  return compare(rows_of(outputs.detach(), rows_a), rows_of(outputs.detach(), rows_b));
}

void SimilarityLearning::learn(const Variable& tokens, const RouterOutput& route, const DispatchPlan& plan,
                               const Variable& outputs, const Experts& experts, const std::string& where,
                               nn::ForwardContext& ctx) {
  if (tokens.size(0) == 0) return;
  const Tensor choices = compared_experts(route);
  Variable loss;
  for (const ExpertPair pair : due_pairs(choices)) {
    const std::vector<std::int64_t> shared = compared_tokens(choices, pair, ctx.draw);
    const auto n = static_cast<std::int64_t>(shared.size());
    if (n < options_.min_tokens) continue;
    const auto is_alike = [&](const Likeness& l) { return l.value.value().item() > options_.threshold; };
    if (options_.reuse_outputs) {
      const Likeness known = known_likeness(shared, pair, route, plan, outputs);
      if (known.value.defined() && !is_alike(known)) {
        remember(known, n);
        continue;
      }
    }
    const Variable y =
        experts.forward_pair(rows_of(tokens.detach(), shared), pair.a, pair.b, ctx.compute_dtype);
    const Likeness seen = compare(ops::slice(y, 0, 0, n), ops::slice(y, 0, n, 2 * n));
    if (!seen.value.defined()) continue;
    remember(seen, n);
    if (is_alike(seen)) loss = loss.defined() ? ops::add(loss, seen.value) : seen.value;
  }
  if (loss.defined())
    ctx.losses.add("similarity", where, options_.beta, nn::to_dtype(loss, projection_.weight.dtype()));
}

void SimilarityLearning::add_metrics(const std::string& where, nn::Metrics& metrics) const {
  const std::vector<double> last = last_.to_vector<double>();
  metrics[where + "/similarity_checks"] = last[3];
  if (last[3] == 0.0) return;
  metrics[where + "/similarity"] = last[0];
  metrics[where + "/similarity_tokens"] = last[1];
  metrics[where + "/similarity_kernel"] = last[2];
}

}  // namespace simsmoe::moe
