// Which layers compete in which step, and what is learned for that.
#include "moe/routers/compete_schedule.hpp"

#include <algorithm>
#include <cmath>

namespace simsmoe::moe {

namespace {

using Plan = std::vector<std::vector<std::uint8_t>>;  // [layers][steps]

// The nearest earlier step with room at which the layer does not compete yet, else the nearest later one; -1: none.
std::int64_t nearest_room(const Plan& plan, const std::vector<std::int64_t>& used, std::size_t layer,
                          std::int64_t from, std::int64_t first, std::int64_t max_layers) {
  const auto steps = static_cast<std::int64_t>(used.size());
  const auto room = [&](std::int64_t s) {
    const auto at = static_cast<std::size_t>(s);
    return used[at] < max_layers && plan[layer][at] == 0;
  };
  for (std::int64_t s = from - 1; s >= first; --s)
    if (room(s)) return s;
  for (std::int64_t s = from + 1; s < steps; ++s)
    if (room(s)) return s;
  return -1;
}

}  // namespace

Plan draw_capped_plan(RandomKey key, std::uint64_t window, std::int64_t layers, std::int64_t steps,
                      std::int64_t first, double rate, std::int64_t max_layers) {
  Plan plan(static_cast<std::size_t>(layers), std::vector<std::uint8_t>(static_cast<std::size_t>(steps), 0));
  std::vector<std::int64_t> used(static_cast<std::size_t>(steps), 0);
  for (std::size_t layer = 0; layer < plan.size(); ++layer)
    for (std::int64_t s = first; s < steps; ++s) {
      const auto at = static_cast<std::size_t>(s);
      plan[layer][at] =
          random_uniform(key, window, layer * static_cast<std::size_t>(steps) + at) < rate ? 1 : 0;
      used[at] += plan[layer][at];
    }
  for (std::int64_t s = first; s < steps; ++s)
    for (std::size_t layer = plan.size(); layer-- > 0 && used[static_cast<std::size_t>(s)] > max_layers;) {
      const auto at = static_cast<std::size_t>(s);
      if (plan[layer][at] == 0) continue;
      const std::int64_t other = nearest_room(plan, used, layer, s, first, max_layers);
      plan[layer][at] = 0;
      --used[at];
      if (other < 0) continue;  // more competitions than the window has room for
      plan[layer][static_cast<std::size_t>(other)] = 1;
      ++used[static_cast<std::size_t>(other)];
    }
  return plan;
}

CompeteSchedule::CompeteSchedule(const nn::Scope& scope, const CompeteOptions& options, const nn::Site& site)
    : options_(options),
      layer_(site.index),
      layers_(site.count),
      first_step_(static_cast<std::int64_t>(std::ceil(options.warmup * static_cast<double>(site.steps)))),
      key_{scope.store().seed(), stream_of("compete.schedule")},  // the same for all layers
      plan_(scope.buffer("plan", {kWindow}, DType::u8)),
      window_(scope.buffer("window", {1}, DType::i64, -1.0)) {
  if (options_.version == 2 &&
      options_.rate * static_cast<double>(layers_) > static_cast<double>(options_.max_layers))
    throw UserError(
        fmt::format("compete.rate = {} of {} layers is more than compete.max_layers = {} in every step",
                    options_.rate, layers_, options_.max_layers));
}

bool CompeteSchedule::competes(nn::ForwardContext& ctx) const {
  const std::uint64_t window = ctx.step / kWindow, at = ctx.step % kWindow;
  if (window_.to_vector<std::int64_t>()[0] == static_cast<std::int64_t>(window))
    return plan_.to_vector<std::uint8_t>()[at] != 0;
  const std::vector<std::uint8_t> row = drawn(window);
  ctx.observed.note(*this, Tensor::from(row, {kWindow}));
  return row[at] != 0;
}

void CompeteSchedule::end_step(std::span<const Tensor> seen, std::uint64_t step) const {
  plan_.copy_from(seen.back());
  const std::uint64_t window = step / kWindow;
  window_.fill(static_cast<double>(window));
}

std::vector<std::uint8_t> CompeteSchedule::drawn(std::uint64_t window) const {
  const std::int64_t begin = static_cast<std::int64_t>(window) * kWindow;
  if (options_.version == 2) {
    const std::int64_t first = std::clamp<std::int64_t>(first_step_ - begin, 0, kWindow);
    return draw_capped_plan(key_, window, layers_, kWindow, first, options_.rate,
                            options_.max_layers)[static_cast<std::size_t>(layer_)];
  }
  std::vector<std::uint8_t> row(kWindow, 0);
  for (std::uint64_t s = 0; s < row.size(); ++s) {
    const std::uint64_t now = window * kWindow + s;
    const std::uint64_t draw =
        options_.by_lambda() ? now / static_cast<std::uint64_t>(options_.iteration) : now;
    const double chance =
        options_.by_lambda() ? 2.0 / (2.0 + std::sqrt(static_cast<double>(draw) + 1.0)) : options_.rate;
    row[s] = random_uniform(key_, draw, static_cast<std::uint64_t>(layer_)) < chance ? 1 : 0;
  }
  return row;
}

}  // namespace simsmoe::moe
