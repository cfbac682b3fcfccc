#pragma once
// Learning rates as pure functions of the optimizer step: a resumed run needs no schedule state.

#include <cstdint>
#include <string>
#include <vector>

namespace simsmoe::nn {

struct ScheduleOptions {
  std::string name = "cosine";                // constant, linear, cosine, multi_step
  double lr = 1e-3;                           // peak, reached at the end of the warm-up
  std::int64_t warmup = 0;                    // steps of linear warm-up: lr * (step + 1) / warmup
  std::int64_t steps = 1;                     // length of the whole training; linear and cosine end there
  double min_ratio = 0.0;                     // linear, cosine and multi_step never fall below min_ratio * lr
  std::vector<std::int64_t> milestones = {};  // multi_step: from each of these steps on
  double gamma = 0.1;                         //             lr is multiplied by gamma
};

class Schedule {
 public:
  explicit Schedule(ScheduleOptions options);  // throws UserError naming the value that is out of range

  // With p = (step - warmup) / (steps - warmup) in [0, 1] and m = min_ratio, after the warm-up:
  //   linear lr (1 - (1 - m) p),  cosine lr (m + (1 - m) (1 + cos(pi p)) / 2),
  //   multi_step lr max(m, gamma^n) behind n milestones.
  double operator()(std::int64_t step) const;  // step counts from 0

 private:
  double decay(std::int64_t step) const;

  ScheduleOptions options_;
};

}  // namespace simsmoe::nn
