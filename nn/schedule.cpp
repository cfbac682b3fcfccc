// Warm-up first, then decay() as a factor of the peak rate.

#include "nn/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/check.hpp"

namespace simsmoe::nn {

void ScheduleOptions::fields(FieldList& add) {
  const bool stepped = schedule == Decay::multi_step;
  add("steps", &steps, "optimizer steps in all", between(1, 1e12));
  add("lr", &lr, "peak learning rate", above(0));
  add("schedule", &schedule, "learning rate after the warm-up");
  add("milestones", &milestones, "of multi_step: steps at which the rate falls, as 1000,1500");
  add("gamma", &gamma, "of multi_step: factor of the rate at each milestone", above_to(0, 1))
      .read_if(stepped, "train.schedule multi_step only");
  add("warmup", &warmup, "steps of linear warm-up from 0; train.steps at most", at_least(0));
  add("min_lr_ratio", &min_ratio, "last learning rate as a fraction of train.lr", between(0, 1))
      .read_if(schedule != Decay::constant, "train.schedule = constant");
}

void ScheduleOptions::check() const {
  if ((schedule == Decay::multi_step) == milestones.empty())
    throw UserError("train.schedule = multi_step and train.milestones go together: give both or neither");
}

Schedule::Schedule(const ScheduleOptions& options) : options_(options) {
  validate("train", options);
  options_.warmup = std::min(options_.warmup, options_.steps);
}

double Schedule::operator()(std::int64_t step) const {
  SMX_CHECK(step >= 0, "[schedule] expected a step >= 0, got {}", step);
  if (step < options_.warmup)
    return options_.lr * static_cast<double>(step + 1) / static_cast<double>(options_.warmup);
  return options_.lr * decay(step);
}

double Schedule::decay(std::int64_t step) const {
  const double floor = options_.min_ratio;
  const std::int64_t length = std::max<std::int64_t>(options_.steps - options_.warmup, 1);
  const double p = std::min(1.0, static_cast<double>(step - options_.warmup) / static_cast<double>(length));
  switch (options_.schedule) {
    case Decay::constant:
      break;
    case Decay::linear:
      return 1.0 - (1.0 - floor) * p;
    case Decay::cosine:
      return floor + (1.0 - floor) * 0.5 * (1.0 + std::cos(std::numbers::pi * p));
    case Decay::multi_step: {
      const auto passed = std::ranges::count_if(options_.milestones, [&](auto m) { return m <= step; });
      return std::max(floor, std::pow(options_.gamma, static_cast<double>(passed)));
    }
  }
  return 1.0;
}

}  // namespace simsmoe::nn
