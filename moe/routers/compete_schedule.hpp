#pragma once
// In which steps the experts of a layer compete. Drawn ahead for windows of kWindow steps, for all layers at once, as a
// function of the seed; each layer keeps its own row as a buffer, so the plan in force is part of the checkpoint.
//
// Version 2 (Nguyen et al. 2025, arXiv 2505.13380, section 4.2; Fsoft-AIC/CompeteSMoE): each layer competes in a step
// with probability rate, at most max_layers in one step. An excess draw moves to the nearest earlier step with room,
// else to the nearest later one, within its window: the number of competitions stays as drawn while there is room, and
// with rate * layers near max_layers there is not for all. None in the warm-up.
// Version 1 (Pham et al. 2024, arXiv 2402.02526): "lambda" draws once per layer for an iteration of steps, with
// probability 2 / (2 + sqrt(t + 1)) in iteration t; "bernoulli" draws in every step with probability rate.

#include "moe/routers/compete.hpp"
#include "nn/feed_forward.hpp"

namespace simsmoe::moe {

class CompeteSchedule : public nn::Learner {
 public:
  static constexpr std::int64_t kWindow = 1000;

  // Buffers "plan" u8 [kWindow] and "window" i64 [1]. Throws UserError when the layers of the model would compete more
  // often than max_layers allows.
  CompeteSchedule(const nn::Scope& scope, const CompeteOptions& options, const nn::Site& site);

  // In a pass of ctx.step. The first passes of a new window note its plan, which end_step() writes down.
  bool competes(nn::ForwardContext& ctx) const;
  void end_step(std::span<const Tensor> seen, std::uint64_t step) const override;

 private:
  std::vector<std::uint8_t> drawn(std::uint64_t window) const;  // [kWindow], 1 = competes

  CompeteOptions options_;
  std::int64_t layer_, layers_, first_step_;
  RandomKey key_;
  Tensor plan_, window_;
};

// The plan of one window, version 2: [layers][steps], 1 = competes. Steps before `first` stay free.
std::vector<std::vector<std::uint8_t>> draw_capped_plan(RandomKey key, std::uint64_t window,
                                                        std::int64_t layers, std::int64_t steps,
                                                        std::int64_t first, double rate,
                                                        std::int64_t max_layers);

}  // namespace simsmoe::moe
