#pragma once
// SimSMoE (Do et al. 2025, arXiv 2406.15883, section 3.2 and algorithm 1): experts that keep meeting on the same tokens
// are compared on them, and pushed apart when they say the same. Works on top of every router.
//
//   c_ab += share of the batch's tokens that chose a and b, for every pair a < b        each training pass
//   for every pair with c_ab > f*:  c_ab = 0
//     X = the tokens of this batch that chose both, without gradient                     [n, D]
//     s = likeness(Q E_a(X), Q E_b(X))                                                   Q: [E, D] with bias, one per layer
//     if s > T*:  L += s                                                                 the loss is beta L
//
// The gradient reaches both experts and Q (its bias only where the rows are normalised: CKA does not see a shift), and
// nothing else: not the tokens, not the router. Experts run without
// dropout and before the weights. With k > 2 all pairs of a token's experts count; with k = 1 the pair is the chosen
// expert and the runner-up by logit, or by probability where there are no logits. A pair meets f* batches' worth of
// tokens between two checks, so on average one pair in f* passes is checked (for k = 2): the larger f*, the rarer. n
// below min_tokens is skipped (CKA of two items is 1, of three it is biased); above max_tokens a random part is taken.

#include <string>
#include <vector>

#include "moe/dispatch_plan.hpp"
#include "moe/experts.hpp"
#include "moe/router.hpp"
#include "moe/similarity_losses.hpp"
#include "nn/layers.hpp"

namespace simsmoe::moe {

struct ExpertPair {
  std::int64_t a, b;  // a < b
};

// c: how often the experts of each pair have met since they were last due, in batches' worth of tokens.
class PairCounters : public nn::Learner {
 public:
  // Buffer "counters" f64 [E(E-1)/2].
  PairCounters(const nn::Scope& scope, std::int64_t experts, double frequency);

  // Counts the choices of a pass; the pairs that are above f* with it, in order. choices: i32 [N, K], N >= 1
  std::vector<ExpertPair> due(const Tensor& choices, nn::ForwardContext& ctx) const;
  void end_step(std::span<const Tensor> seen, std::uint64_t step) const override;

 private:
  struct Counts {
    Tensor c;    // f64
    Tensor due;  // u8: was above f* with the last pass, and is 0 again
  };
  // The counters after further passes.
  Counts after(std::span<const Tensor> shares) const;

  std::int64_t experts_;
  double frequency_;
  Tensor counters_;
};

// The last comparison that had a value, for the metrics.
class LastComparison : public nn::Learner {
 public:
  // Buffer "last" f64 [4]: likeness, tokens, mean kernel, and the number of comparisons with a value.
  explicit LastComparison(const nn::Scope& scope);

  void remember(const Likeness& seen, std::int64_t tokens, nn::ForwardContext& ctx) const;
  void add_metrics(const std::string& where, nn::ForwardContext& ctx) const;
  void end_step(std::span<const Tensor> seen, std::uint64_t step) const override;

 private:
  Tensor now(const nn::ForwardContext& ctx) const;

  Tensor last_;
};

class SimilarityLearning {
 public:
  // Parameters "projection.weight" [E, D] and "projection.bias" [E], and the buffers of its two learners.
  SimilarityLearning(const nn::Scope& scope, const MoeOptions& options, std::int64_t dim);

  // Adds the term "similarity" of the layer `where` to ctx.losses when some pair is due and above the threshold.
  // tokens: [N, D]; outputs: [M, D], what the experts gave for the rows of the plan. Training passes only.
  void learn(const Variable& tokens, const RouterOutput& route, const DispatchPlan& plan,
             const Variable& outputs, const Experts& experts, const std::string& where,
             nn::ForwardContext& ctx) const;

  // "similarity", "similarity_tokens", "similarity_kernel" of the last comparison and "similarity_checks", below `where`.
  void add_metrics(const std::string& where, nn::ForwardContext& ctx) const { last_.add_metrics(where, ctx); }
  std::int64_t parameters() const { return projection_.account().parameters; }

 private:
  Likeness compare(const Variable& outputs_a, const Variable& outputs_b) const;
  Likeness known_likeness(const Tensor& tokens, ExpertPair pair, const RouterOutput& route,
                          const DispatchPlan& plan, const Variable& outputs) const;

  SimilarityOptions options_;
  RandomKey key_;
  nn::Linear projection_;
  PairCounters counters_;
  LastComparison last_;
};

// i32 [N, K]: the experts whose pairs count for each token. route.experts, and for K = 1 with the runner-up beside it.
// Throws UserError when K = 1 and the router has neither logits nor probabilities.
Tensor compared_experts(const RouterOutput& route);

}  // namespace simsmoe::moe
