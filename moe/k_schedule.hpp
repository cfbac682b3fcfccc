#pragma once
// How many experts a token uses. Fixed for most routers; SMoE-Dropout and HyperRouter raise it while training
// (Chen et al. 2023, arXiv 2303.01610, section 3.2). All layers share it: it is a function of the step.

#include "nn/context.hpp"
#include "nn/fields.hpp"

namespace simsmoe::moe {

struct MoeOptions;

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

  // k after `step` of `steps` steps, with f = step / steps, a = k_min, b = k_max, round half to even:
  //   linear        a + round((b - a) f)
  //   cosine        b - round((b - a) cos(pi f / 2))
  //   exponential   b - round((b - a) 0.99^i),  i = floor(step / floor(steps / 300))
  //   multi_step    a, 2a, 4a, ... b in equal intervals
  //   *_decrease    a + b - the above
  std::int64_t at(std::int64_t step) const;

 private:
  std::int64_t rising(std::int64_t step) const;

  KShape shape_;  // one that rises
  bool decrease_;
  std::int64_t k_, experts_, k_min_, k_max_, steps_;
};

}  // namespace simsmoe::moe
