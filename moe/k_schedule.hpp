#pragma once
// How many experts a token uses. Fixed for most routers; SMoE-Dropout and HyperRouter raise it while training
// (Chen et al. 2023, arXiv 2303.01610, section 3.2). All layers share it: it is a function of the step. And what the
// weights of so many experts are.

#include "nn/context.hpp"
#include "nn/fields.hpp"

namespace simsmoe::moe {

struct MoeOptions;

// topk_softmax: softmax over the k kept logits (weights sum to 1); softmax_topk: the k largest of the softmax over all
// E (weights sum to < 1).
enum class SelectionOrder : unsigned char { topk_softmax, softmax_topk };
constexpr auto enum_names(SelectionOrder) {
  return std::to_array<std::string_view>({"topk_softmax", "softmax_topk"});
}

// How many experts a token gets and what they weigh.
struct Selection {
  std::int64_t k = 1;
  SelectionOrder order = SelectionOrder::topk_softmax;
};

// automatic: what the router's recipe has (RouterTraits::k_recipe).
enum class KShape : unsigned char {
  automatic,
  none,
  linear,
  cosine,
  exponential,
  multi_step,
  linear_decrease,
  cosine_decrease,
  exponential_decrease,
  multi_step_decrease
};
constexpr auto enum_names(KShape) {
  return std::to_array<std::string_view>({"auto", "none", "linear", "cosine", "exponential", "multi_step",
                                          "linear_decrease", "cosine_decrease", "exponential_decrease",
                                          "multi_step_decrease"});
}

struct KScheduleOptions {
  KShape shape = KShape::automatic;
  std::int64_t k_min = 0;  // 0: E / 2, at least 1
  std::int64_t k_max = 0;  // 0: E

  // `fixed`: k does not change, so nothing reads the ends of its range.
  void fields(nn::FieldList& add, bool fixed);
  void check(std::int64_t experts) const;  // throws UserError
};

class KSchedule {
 public:
  // `steps` of the whole training; 0: unknown. Throws UserError when a schedule needs to know.
  KSchedule(const MoeOptions& options, std::int64_t steps);

  // Inference: ctx.experts_per_token, or options.k when that is 0; at most E. Training: k of the step.
  std::int64_t operator()(const nn::ForwardContext& ctx) const;

  // The same k with the order of its weights. That is `order`, but softmax_topk for a single expert in training, as its
  // weight would be the constant 1 and no gradient of the task would reach the router (Switch Transformer, Fedus et al.
  // 2021, eq. 2), and in the inference of what is trained with one to its end. A model that is trained with more experts
  // keeps `order` when it is run with one. moe.variant = reference always keeps it, as published.
  Selection select(const nn::ForwardContext& ctx, SelectionOrder order) const;
  // Whether this pass has such a single expert, whatever the variant.
  bool single(const nn::ForwardContext& ctx) const;

  // k after `step` of `steps` steps, with f = step / steps, a = k_min, b = k_max, round half to even and halves exact:
  //   linear        a + round((b - a) f)
  //   cosine        b - round((b - a) cos(pi f / 2))
  //   exponential   b - round((b - a) 0.99^i),  i = floor(step / floor(steps / 300))
  //   multi_step    1, 2, 4, 8, 16 in five equal intervals, clipped to [a, b]: it never exceeds 16
  //   *_decrease    a + b - the above, but multi_step_decrease: 16, 8, 4, 2, 1, clipped
  std::int64_t at(std::int64_t step) const;

 private:
  std::int64_t rising(std::int64_t step) const;

  KShape shape_;  // one that rises
  bool decrease_;
  bool published_;
  std::int64_t k_, experts_, k_min_, k_max_, steps_;
};

}  // namespace simsmoe::moe
