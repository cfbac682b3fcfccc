#pragma once
// Learning rates as pure functions of the optimizer step: a resumed run needs no schedule state.

#include <cstdint>

#include "nn/fields.hpp"

namespace simsmoe::nn {

enum class Decay : unsigned char { constant, linear, cosine, multi_step };
constexpr auto enum_names(Decay) {
  return std::to_array<std::string_view>({"constant", "linear", "cosine", "multi_step"});
}

struct ScheduleOptions {
  std::int64_t steps = 1000;  // length of the whole training; linear and cosine end there
  double lr = 3e-3;           // peak, reached at the end of the warm-up
  Decay schedule = Decay::cosine;
  Steps milestones = {};     // multi_step: from each of these steps on
  double gamma = 0.1;        //             lr is multiplied by gamma
  std::int64_t warmup = 50;  // steps of linear warm-up: lr * (step + 1) / warmup; at most `steps`
  double min_ratio = 0.1;    // linear, cosine and multi_step never fall below min_ratio * lr

  void fields(FieldList& add);
  void check() const;  // throws UserError
};

class Schedule {
 public:
  explicit Schedule(
      const ScheduleOptions& options);  // throws UserError naming the value that is out of range

  // With p = (step - warmup) / (steps - warmup) in [0, 1] and m = min_ratio, after the warm-up:
  //   linear lr (1 - (1 - m) p),  cosine lr (m + (1 - m) (1 + cos(pi p)) / 2),
  //   multi_step lr max(m, gamma^n) behind n milestones.
  double operator()(std::int64_t step) const;  // step counts from 0

 private:
  double decay(std::int64_t step) const;

  ScheduleOptions options_;
};

}  // namespace simsmoe::nn
