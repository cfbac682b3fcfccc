#pragma once
// How many experts a token uses. Fixed for most routers; SMoE-Dropout and HyperRouter raise it while training
// (Chen et al. 2023, arXiv 2303.01610, section 3.2). All layers share it: it is a function of the step.

#include "moe/options.hpp"
#include "nn/context.hpp"

namespace simsmoe::moe {

class KSchedule {
 public:
  // `recipe`: what the name "auto" stands for. Throws UserError naming moe.k_schedule, moe.k_min or moe.k_max.
  explicit KSchedule(const MoeOptions& options, const std::string& recipe = "none");

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
  enum class Shape : unsigned char { none, linear, cosine, exponential, multi_step };
  std::int64_t rising(std::int64_t step) const;

  Shape shape_ = Shape::none;
  bool decrease_ = false;
  std::int64_t k_, experts_, k_min_, k_max_, steps_;
};

}  // namespace simsmoe::moe
