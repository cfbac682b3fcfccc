#pragma once
// The sparse mixture-of-experts sublayer:
//   y_t = sum_j w_tj E_{e_tj}(x_t)            over the k experts e_t1 .. e_tk that the router chose for token t
// forward() is the whole algorithm in its five steps: route, plan, gather, experts, combine. What wants to learn from a
// pass is a collaborator that receives the tokens, the route, the plan and the experts at that place and adds a loss to
// the context (similarity_learning.hpp); it is not a subclass, so every router can have it.

#include <memory>
#include <optional>
#include <string>

#include "moe/balance_policy.hpp"
#include "moe/dispatch_plan.hpp"
#include "moe/experts.hpp"
#include "moe/router.hpp"
#include "moe/similarity_learning.hpp"

namespace simsmoe::moe {

class MoeLayer : public nn::FeedForward {
 public:
  // Parameters under "router", "experts" and, with similarity learning, "similarity". Throws UserError on bad options.
  MoeLayer(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site);

  // x: [..., T, D], sequences of T tokens -> the same shape in the dtype that the context computes in, like nn::Linear.
  // In training adds the terms "balance" and "z" to ctx.losses unless their weight is 0 or the router has losses of its
  // own, and "similarity" when a pair of experts is due. Metrics, under the layer's path:
  //   ctx.collect_metrics   load (share of each expert in all choices), load_max and load_min, load_entropy (in nats; log E when uniform),
  //                         dropped (share of all choices), k (experts per token); in training each loss term of the
  //                         layer, weighted, as loss/NAME, and those of SimilarityLearning
  //   ctx.compare_experts   expert_cka: mean of moe/expert_cka.hpp over the pairs, expert_cka_pairs: their number
  Variable forward(const Variable& x, nn::ForwardContext& ctx) const override;
  nn::Account account() const override;

  Router& router() { return *router_; }
  const Experts& experts() const { return experts_; }

 private:
  void add_losses(const RouterOutput& route, std::int64_t sequence, nn::ForwardContext& ctx) const;
  void add_load_metrics(const DispatchPlan& plan, nn::ForwardContext& ctx) const;
  void add_loss_metrics(std::size_t first_term, nn::ForwardContext& ctx) const;
  void add_expert_metrics(const Variable& tokens, const RouterOutput& route, nn::ForwardContext& ctx) const;

  MoeOptions options_;
  BalanceForm balance_;
  double balance_weight_;
  StepLoad step_load_;  // of the balance form global
  std::string path_;
  std::unique_ptr<Router> router_;
  Experts experts_;
  std::optional<SimilarityLearning> similarity_;
};

}  // namespace simsmoe::moe
