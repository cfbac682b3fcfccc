// Warm-up first, then decay() as a factor of the peak rate.

#include "nn/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/check.hpp"

namespace simsmoe::nn {

Schedule::Schedule(ScheduleOptions options) : options_(std::move(options)) {
  const auto require = [](bool condition, const std::string& message) {
    if (!condition) throw UserError(message);
  };
  const ScheduleOptions& o = options_;
  require(o.name == "constant" || o.name == "linear" || o.name == "cosine" || o.name == "multi_step",
          fmt::format("unknown schedule '{}': expected constant, linear, cosine or multi_step", o.name));
  require(std::isfinite(o.lr) && o.lr > 0.0, fmt::format("lr must be positive, got {}", o.lr));
  require(o.steps >= 1, fmt::format("steps must be at least 1, got {}", o.steps));
  require(o.warmup >= 0 && o.warmup <= o.steps,
          fmt::format("warmup must be between 0 and steps = {}, got {}", o.steps, o.warmup));
  require(o.min_ratio >= 0.0 && o.min_ratio <= 1.0,
          fmt::format("min_ratio must be in [0, 1], got {}", o.min_ratio));
  require(o.gamma > 0.0 && o.gamma <= 1.0, fmt::format("gamma must be in (0, 1], got {}", o.gamma));
  require(std::ranges::is_sorted(o.milestones), "milestones must be in ascending order");
}

double Schedule::operator()(std::int64_t step) const {
  SMX_CHECK(step >= 0, "[schedule] expected a step >= 0, got {}", step);
  if (step < options_.warmup)
    return options_.lr * static_cast<double>(step + 1) / static_cast<double>(options_.warmup);
  return options_.lr * decay(step);
}

double Schedule::decay(std::int64_t step) const {
  if (options_.name == "constant") return 1.0;
  const double floor = options_.min_ratio;
  if (options_.name == "multi_step") {
    const auto passed = std::ranges::count_if(options_.milestones, [&](auto m) { return m <= step; });
    return std::max(floor, std::pow(options_.gamma, static_cast<double>(passed)));
  }
  const std::int64_t length = std::max<std::int64_t>(options_.steps - options_.warmup, 1);
  const double p = std::min(1.0, static_cast<double>(step - options_.warmup) / static_cast<double>(length));
  if (options_.name == "linear") return 1.0 - (1.0 - floor) * p;
  return floor + (1.0 - floor) * 0.5 * (1.0 + std::cos(std::numbers::pi * p));
}

}  // namespace simsmoe::nn
