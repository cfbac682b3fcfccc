#pragma once
// What balances the experts without a loss of its own kind: it watches how the passes of a step route and changes one
// thing, once per optimizer step. Its state is in buffers, so in the checkpoint; evaluation neither feeds nor moves it.

#include "moe/balance_losses.hpp"
#include "moe/router.hpp"
#include "nn/observations.hpp"

namespace simsmoe::moe {

class BalancePolicy : public nn::Learner {
 public:
  // Watches a pass. Only training passes over at least one token are noted.
  void observe(const RouterOutput& route, nn::ForwardContext& ctx) const;

 protected:
  // What end_step() will want to know of this pass, one number per expert for example; summed over the passes of a step
  // or looked at one by one.
  virtual Tensor seen(const RouterOutput& route) const = 0;
  // Layers that learn from each other's passes have a common name here.
  virtual std::string group() const { return {}; }
};

// Watches the load alone: what a balance loss counts over the micro-batches of a step (moe.balance = global).
class StepLoad : public BalancePolicy {
 public:
  explicit StepLoad(std::int64_t experts) : experts_(experts) {}
  // The counts of the step's passes so far, f64 [1, E] each.
  std::span<const Tensor> so_far(const nn::ForwardContext& ctx) const { return ctx.observed.noted(*this); }
  void end_step(std::span<const Tensor> /*seen*/, std::uint64_t /*step*/) const override {}

 protected:
  Tensor seen(const RouterOutput& route) const override { return counts_of_batch(route.experts, experts_); }

 private:
  std::int64_t experts_;
};

// A bias that decides who is chosen and never what a choice weighs:
//   c_e <- c_e + rate * sign(mean count - count_e),  then  c <- c - mean(c)
// once per step, with the counts of all its micro-batches. The mean is kept at 0, which changes no choice: else c
// drifts wherever more experts are above the mean load than below. Wang et al. 2024 (Auxiliary-loss-free load balancing,
// arXiv 2408.15664), algorithm 1, which leaves the mean alone.
class SelectionBias : public BalancePolicy {
 public:
  // Buffer "selection_bias" [E].
  SelectionBias(const nn::Scope& scope, std::int64_t experts, double rate);

  // What the choice goes by, without a gradient. scores: [N, E]
  Variable preference(const Variable& scores) const;
  void end_step(std::span<const Tensor> seen, std::uint64_t step) const override;

 protected:
  Tensor seen(const RouterOutput& route) const override;  // counts f64 [1, E]

 private:
  double rate_;
  Tensor bias_;  // [E]
};

}  // namespace simsmoe::moe
