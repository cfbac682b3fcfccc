// The formulas are in the header.
#include "moe/k_schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace simsmoe::moe {

KSchedule::KSchedule(const MoeOptions& o, const std::string& recipe)
    : k_(o.k),
      experts_(o.experts),
      k_min_(o.k_schedule.k_min > 0 ? o.k_schedule.k_min : std::max<std::int64_t>(1, o.experts / 2)),
      k_max_(o.k_schedule.k_max > 0 ? o.k_schedule.k_max : o.experts),
      steps_(o.steps) {
  std::string name = o.k_schedule.name == "auto" ? recipe : o.k_schedule.name;
  constexpr std::string_view kSuffix = "_decrease";
  decrease_ = name.ends_with(kSuffix);
  if (decrease_) name.resize(name.size() - kSuffix.size());
  constexpr std::string_view kNames[] = {"none", "linear", "cosine", "exponential", "multi_step"};
  const auto* const found = std::ranges::find(kNames, name);
  if (found == std::end(kNames) || (decrease_ && name == "none"))
    throw UserError(
        fmt::format("moe.k_schedule must be auto, none, linear, cosine, exponential, multi_step or one of "
                    "the last four with _decrease, got '{}'",
                    o.k_schedule.name));
  shape_ = static_cast<Shape>(found - kNames);
  if (shape_ == Shape::none) return;
  if (steps_ < 1)
    throw UserError(fmt::format("moe.k_schedule = {} needs to know the number of training steps", name));
  if (k_min_ > k_max_ || k_max_ > experts_)
    throw UserError(
        fmt::format("moe.k_min = {} and moe.k_max = {} must rise and stay within moe.experts = {}", k_min_,
                    k_max_, experts_));
}

std::int64_t KSchedule::operator()(const nn::ForwardContext& ctx) const {
  if (ctx.training && shape_ != Shape::none) return at(static_cast<std::int64_t>(ctx.step));
  return std::min(ctx.experts_per_token > 0 ? ctx.experts_per_token : k_, experts_);
}

std::int64_t KSchedule::at(std::int64_t step) const {
  if (shape_ == Shape::none) return k_;
  const std::int64_t k = rising(std::clamp<std::int64_t>(step, 0, steps_));
  return std::clamp(decrease_ ? k_min_ + k_max_ - k : k, k_min_, k_max_);
}

std::int64_t KSchedule::rising(std::int64_t step) const {
  const double range = static_cast<double>(k_max_ - k_min_);
  const double done = static_cast<double>(step) / static_cast<double>(steps_);
  const auto part = [&](double share) { return static_cast<std::int64_t>(std::nearbyint(range * share)); };
  switch (shape_) {
    case Shape::linear:
      return k_min_ + part(done);
    case Shape::cosine:
      return k_max_ - part(std::cos(std::numbers::pi * done / 2.0));
    case Shape::exponential: {
      const std::int64_t interval = std::max<std::int64_t>(1, steps_ / 300), i = step / interval;
      return k_max_ - part(std::pow(0.99, static_cast<double>(i)));
    }
    case Shape::multi_step: {
      std::int64_t doublings = 0;
      while ((k_min_ << doublings) < k_max_) ++doublings;
      const std::int64_t interval = std::min(doublings, step * (doublings + 1) / steps_);
      return std::min(k_max_, k_min_ << interval);
    }
    case Shape::none:
      break;
  }
  return k_;
}

}  // namespace simsmoe::moe
