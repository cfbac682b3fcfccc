// The shapes as functions of the step, and their checks.
#include "moe/k_schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "moe/options.hpp"

namespace simsmoe::moe {

namespace {

constexpr int kDecrease = static_cast<int>(KShape::linear_decrease) - static_cast<int>(KShape::linear);

bool decreases(KShape shape) { return shape >= KShape::linear_decrease; }
KShape risen(KShape shape) {
  return decreases(shape) ? static_cast<KShape>(static_cast<int>(shape) - kDecrease) : shape;
}

std::int64_t lowest(const KScheduleOptions& o, std::int64_t experts) {
  return o.k_min > 0 ? o.k_min : std::max<std::int64_t>(1, experts / 2);
}
std::int64_t highest(const KScheduleOptions& o, std::int64_t experts) {
  return o.k_max > 0 ? o.k_max : experts;
}

}  // namespace

void KScheduleOptions::fields(nn::FieldList& add, bool fixed) {
  add("k_schedule", &shape, "experts per token while training; auto: what the recipe of the router has");
  add("k_min", &k_min, "of the k schedule; 0: half the experts", nn::between(0, 65536))
      .read_if(!fixed, "no moe.k_schedule");
  add("k_max", &k_max, "of the k schedule; 0: all experts", nn::between(0, 65536))
      .read_if(!fixed, "no moe.k_schedule");
}

void KScheduleOptions::check(std::int64_t experts) const {
  const std::int64_t low = lowest(*this, experts), high = highest(*this, experts);
  if (low > high || high > experts)
    throw UserError(fmt::format(
        "moe.k_min = {} and moe.k_max = {} must rise and stay within moe.experts = {}", low, high, experts));
}

KSchedule::KSchedule(const MoeOptions& o, std::int64_t steps)
    : shape_(risen(o.k_shape())),
      decrease_(decreases(o.k_shape())),
      published_(o.reference()),
      k_(o.k),
      experts_(o.experts),
      k_min_(lowest(o.k_schedule, o.experts)),
      k_max_(highest(o.k_schedule, o.experts)),
      steps_(steps) {
  if (shape_ != KShape::none && steps_ < 1)
    throw UserError(fmt::format("moe.k_schedule = {} needs to know the number of training steps",
                                nn::name_of(o.k_shape())));
}

std::int64_t KSchedule::operator()(const nn::ForwardContext& ctx) const {
  if (ctx.training && shape_ != KShape::none) return at(static_cast<std::int64_t>(ctx.step));
  return std::min(ctx.experts_per_token > 0 ? ctx.experts_per_token : k_, experts_);
}

bool KSchedule::single(const nn::ForwardContext& ctx) const {
  return (*this)(ctx) == 1 && (ctx.training || at(steps_) == 1);
}

Selection KSchedule::select(const nn::ForwardContext& ctx, SelectionOrder order) const {
  return {(*this)(ctx), single(ctx) && !published_ ? SelectionOrder::softmax_topk : order};
}

std::int64_t KSchedule::at(std::int64_t step) const {
  if (shape_ == KShape::none) return k_;
  const std::int64_t now = std::clamp<std::int64_t>(step, 0, steps_);
  if (shape_ == KShape::multi_step) {
    const std::int64_t fifth = std::min<std::int64_t>(4, 5 * now / steps_);
    return std::clamp<std::int64_t>(std::int64_t{1} << (decrease_ ? 4 - fifth : fifth), k_min_, k_max_);
  }
  const std::int64_t k = rising(now);
  return std::clamp(decrease_ ? k_min_ + k_max_ - k : k, k_min_, k_max_);
}

std::int64_t KSchedule::rising(std::int64_t step) const {
  const auto range = static_cast<double>(k_max_ - k_min_);
  const auto s = static_cast<double>(step), all = static_cast<double>(steps_);
  const auto rounded = [](double x) { return static_cast<std::int64_t>(std::nearbyint(x)); };
  switch (shape_) {
    case KShape::linear:
      return k_min_ + rounded(range * s / all);  // one rounding: the product of two integers is exact
    case KShape::cosine: {
      // Of the cosines of rational parts of pi only 0, 1/2 and 1 can give a half (Niven's theorem): f = 2/3.
      const double share = 3 * step == 2 * steps_ ? 0.5 : std::cos(std::numbers::pi * s / (2.0 * all));
      return k_max_ - rounded(range * share);
    }
    case KShape::exponential: {
      const std::int64_t interval = std::max<std::int64_t>(1, steps_ / 300), i = step / interval;
      return k_max_ - rounded(range * std::pow(0.99, static_cast<double>(i)));
    }
    default:
      return k_;
  }
}

}  // namespace simsmoe::moe
