// Which layers compete when: never too many, never lost, never in the warm-up, the same after a restart.
#include "moe/routers/compete_schedule.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/decoder.hpp"
#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

using Plan = std::vector<std::vector<std::uint8_t>>;

constexpr RandomKey kKey{5, 9};

std::int64_t total(const Plan& plan) {
  std::int64_t sum = 0;
  for (const auto& layer : plan)
    for (const std::uint8_t competes : layer) sum += competes;
  return sum;
}

CompeteOptions compete_options(std::int64_t version = 2) {
  CompeteOptions options;
  options.version = version;
  options.rate = 0.4;
  return options;
}

// Layer `index` of six.
nn::Site site_of(std::int64_t index) { return {.index = index, .count = 6, .steps = 2000}; }

// In a training step with two passes, which agree.
bool competes(const CompeteSchedule& schedule, std::uint64_t step) {
  nn::ForwardContext ctx = training_context();
  ctx.step = step;
  const bool first = schedule.competes(ctx), second = schedule.competes(ctx);
  CHECK(first == second);
  ctx.observed.end_step(step);
  return first;
}

std::vector<bool> competitions(const CompeteSchedule& schedule, std::uint64_t from, std::uint64_t to) {
  std::vector<bool> steps;
  for (std::uint64_t s = from; s < to; ++s) steps.push_back(competes(schedule, s));
  return steps;
}

}  // namespace

TEST_CASE("compete schedule: at most max_layers in a step, and every draw is kept") {
  for (const double rate : {0.05, 0.3, 0.4})
    for (const std::int64_t first : {0, 100}) {
      CAPTURE(rate);
      CAPTURE(first);
      const Plan drawn = draw_capped_plan(kKey, 0, 6, 500, first, rate, 6);  // no cap
      const Plan plan = draw_capped_plan(kKey, 0, 6, 500, first, rate, 3);
      CHECK(total(drawn) == doctest::Approx(rate * 6.0 * static_cast<double>(500 - first)).epsilon(0.15));
      for (std::size_t layer = 0; layer < 6; ++layer) CHECK(total({plan[layer]}) == total({drawn[layer]}));
      for (std::size_t s = 0; s < 500; ++s) {
        int at_once = 0;
        for (const auto& layer : plan) at_once += layer[s];
        CHECK(at_once <= 3);
        if (s < static_cast<std::size_t>(first)) CHECK(at_once == 0);
      }
      CHECK(draw_capped_plan(kKey, 0, 6, 500, first, rate, 3) == plan);
      CHECK(draw_capped_plan(kKey, 1, 6, 500, first, rate, 3) != plan);
    }
}

TEST_CASE("compete schedule: an excess draw moves to the nearest step with room, earlier before later") {
  constexpr std::int64_t kSteps = 10000;
  const auto plan_from = [](std::int64_t first, std::int64_t cap) {
    return draw_capped_plan(kKey, 0, 2, kSteps, first, 0.1, cap);
  };
  const Plan drawn = plan_from(0, 2), plan = plan_from(0, 1);
  const auto drawn_in = [&](std::size_t begin, std::size_t end) {
    int sum = 0;
    for (std::size_t s = begin; s < end; ++s) sum += drawn[0][s] + drawn[1][s];
    return sum;
  };
  int collisions = 0;
  for (std::size_t s = 10; s + 10 < kSteps; ++s) {
    if (drawn_in(s, s + 1) != 2 || drawn_in(s - 5, s + 6) != 2) continue;  // both, and nobody else around
    ++collisions;
    CHECK(plan[0][s] + plan[1][s] == 1);
    CHECK(plan[0][s - 1] + plan[1][s - 1] == 1);
    const Plan late = plan_from(static_cast<std::int64_t>(s), 1);  // nothing earlier is free
    CHECK(late[0][s] + late[1][s] == 1);
    CHECK(late[0][s + 1] + late[1][s + 1] == 1);
    const Plan just = plan_from(static_cast<std::int64_t>(s) - 1, 1);  // the first step of all is
    CHECK(just[0][s - 1] + just[1][s - 1] == 1);
  }
  CHECK(collisions >= 3);
}

TEST_CASE("compete schedule: version 1, each layer draws on its own, lambda(0) = 2/3, lambda(3) = 1/2") {
  constexpr std::int64_t kLayers = 4000;
  CompeteOptions options = compete_options(1);
  options.iteration = 1;
  int at_0 = 0, at_3 = 0;
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    nn::ParameterStore store(3);
    CompeteSchedule schedule(nn::Scope(store, "schedule"), options, site_of(layer));
    at_0 += competes(schedule, 0) ? 1 : 0;
    at_3 += competes(schedule, 3) ? 1 : 0;
  }
  // five standard deviations of a mean of 4000 draws: 5 sqrt(p (1 - p) / 4000) <= 0.04
  CHECK(std::abs(at_0 / 4000.0 - 2.0 / 3.0) < 0.04);
  CHECK(std::abs(at_3 / 4000.0 - 0.5) < 0.04);
}

TEST_CASE("compete schedule: the cap holds where there is no room for all") {
  const Plan plan = draw_capped_plan(kKey, 0, 6, 100, 0, 1.0, 3);
  for (std::size_t s = 0; s < 100; ++s) {
    int at_once = 0;
    for (const auto& layer : plan) at_once += layer[s];
    CHECK(at_once == 3);
  }
}

TEST_CASE("compete schedule: part of a step of warm-up is a step, and no window is like another") {
  CompeteOptions options = compete_options();
  nn::Site site = site_of(0);
  site.steps = 2010;  // 5 %: 100.5
  options.rate = 1.0;
  options.max_layers = 6;
  nn::ParameterStore store(3);
  CompeteSchedule always(nn::Scope(store, "always"), options, site);
  CHECK(!competes(always, 100));
  CHECK(competes(always, 101));

  options.rate = 0.4;
  options.warmup = 0.0;
  CompeteSchedule schedule(nn::Scope(store, "schedule"), options, site);
  CHECK(competitions(schedule, 0, 1000) != competitions(schedule, 1000, 2000));
}

TEST_CASE("compete schedule: the layers together keep the cap and the warm-up") {
  nn::ParameterStore store(3);
  std::vector<CompeteSchedule> schedules;
  for (std::int64_t layer = 0; layer < 6; ++layer)
    schedules.emplace_back(nn::Scope(store, fmt::format("layer{}", layer)), compete_options(),
                           site_of(layer));
  std::int64_t sum = 0;
  for (std::uint64_t s = 0; s < 2000; ++s) {
    int at_once = 0;
    for (const CompeteSchedule& schedule : schedules) at_once += competes(schedule, s) ? 1 : 0;
    CHECK(at_once <= 3);
    if (s < 100) CHECK(at_once == 0);  // 5 % of 2000
    sum += at_once;
  }
  CHECK(static_cast<double>(sum) == doctest::Approx(0.4 * 6 * 1900).epsilon(0.05));
}

TEST_CASE("compete schedule: the plan in force comes from the checkpoint") {
  nn::ParameterStore store(3);
  CompeteSchedule schedule(nn::Scope(store, "schedule"), compete_options(), site_of(2));
  const std::vector<bool> begun = competitions(schedule, 0, 500);
  std::vector<NamedTensor> saved;
  for (const NamedTensor& buffer : store.buffers()) saved.push_back({buffer.name, buffer.tensor.clone()});
  const std::vector<bool> rest = competitions(schedule, 500, 1500);

  nn::ParameterStore same(3);
  same.preload(saved);
  CompeteSchedule resumed(nn::Scope(same, "schedule"), compete_options(), site_of(2));
  CHECK(competitions(resumed, 500, 1500) == rest);

  nn::ParameterStore other(4);  // another seed: the rest of the window still is what was saved
  other.preload(saved);
  CompeteSchedule moved(nn::Scope(other, "schedule"), compete_options(), site_of(2));
  CHECK(competitions(moved, 500, 1000) == std::vector<bool>(rest.begin(), rest.begin() + 500));
  CHECK(competitions(moved, 1000, 1500) != std::vector<bool>(rest.begin() + 500, rest.end()));
}

TEST_CASE("compete schedule: version 1 draws once per iteration, less and less often") {
  CompeteOptions options = compete_options(1);
  options.iteration = 10;
  nn::ParameterStore store(3);
  CompeteSchedule schedule(nn::Scope(store, "schedule"), options, site_of(0));
  const std::vector<bool> steps = competitions(schedule, 0, 20000);
  double early = 0.0, late = 0.0, expected_early = 0.0, expected_late = 0.0;
  for (std::size_t t = 0; t < 2000; ++t) {
    for (std::size_t s = 1; s < 10; ++s) CHECK(steps[10 * t + s] == steps[10 * t]);
    const double chance = 2.0 / (2.0 + std::sqrt(static_cast<double>(t) + 1.0));
    (t < 400 ? early : late) += steps[10 * t] ? 1.0 : 0.0;
    (t < 400 ? expected_early : expected_late) += chance;
  }
  CHECK(early == doctest::Approx(expected_early).epsilon(0.25));
  CHECK(late == doctest::Approx(expected_late).epsilon(0.25));
}

TEST_CASE("compete schedule: the layers of one decoder have plans of their own and keep the cap together") {
  MoeOptions options = small_options();
  options.router = "compete";
  options.set("compete.rate", 0.4).set("compete.warmup", 0.0);
  nn::DecoderOptions model;
  model.vocab = 11;
  model.dim = 8;
  model.attention.heads = 2;
  model.layers = 6;
  model.max_length = 4;
  nn::ParameterStore store(5);
  nn::Decoder decoder(nn::Scope(store), model, feed_forward_factory(options));
  nn::ForwardContext ctx = training_context();
  const Tensor tokens = Tensor::from(std::vector<std::int32_t>{1, 4, 0, 10}, {1, 4});
  decoder.logits(tokens, ctx);  // draws the plans
  ctx.observed.end_step(ctx.step);
  Plan plans;
  for (const NamedTensor& buffer : store.buffers())
    if (buffer.name.ends_with("schedule.plan")) plans.push_back(buffer.tensor.to_vector<std::uint8_t>());
  REQUIRE(plans.size() == 6);
  std::int64_t most = 0;
  for (std::size_t s = 0; s < plans[0].size(); ++s) {
    std::int64_t competing = 0;
    for (const auto& plan : plans) competing += plan[s];
    most = std::max(most, competing);
  }
  CHECK(most == CompeteOptions{}.max_layers);
  for (std::size_t a = 0; a < plans.size(); ++a)
    for (std::size_t b = a + 1; b < plans.size(); ++b) CHECK(plans[a] != plans[b]);
}

}  // namespace simsmoe::moe
