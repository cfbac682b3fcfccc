// Every formula of the growing k, against numbers worked out from it.
#include "moe/k_schedule.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>

#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

KSchedule schedule_of(const std::string& name, std::int64_t k_min, std::int64_t k_max, std::int64_t steps,
                      const std::string& router = "smoe") {
  MoeOptions options;
  options.router = router;
  options.experts = 16;
  options.k = 2;
  options.k_schedule = {.k_min = k_min, .k_max = k_max};
  options.set("moe.k_schedule", name);
  return {options, steps};
}

// Half to even, as the published code rounds.
std::int64_t rounded(double value) { return static_cast<std::int64_t>(std::nearbyint(value)); }

}  // namespace

TEST_CASE("k schedule: each formula at every step, and its mirror") {
  constexpr std::int64_t kMin = 8, kMax = 16, kSteps = 700;
  const auto formula = [](const std::string& name, std::int64_t s) -> std::int64_t {
    const double f = static_cast<double>(s) / kSteps, range = kMax - kMin;
    if (name == "linear") return kMin + rounded(range * f);
    if (name == "cosine") return kMax - rounded(range * std::cos(std::numbers::pi * f / 2.0));
    return kMax - rounded(range * std::pow(0.99, static_cast<double>(s / 2)));  // floor(700 / 300) = 2
  };
  for (const std::string name : {"linear", "cosine", "exponential"}) {
    CAPTURE(name);
    const KSchedule rising = schedule_of(name, kMin, kMax, kSteps);
    const KSchedule falling = schedule_of(name + "_decrease", kMin, kMax, kSteps);
    for (std::int64_t s = 0; s <= kSteps; ++s) {
      CAPTURE(s);
      CHECK(rising.at(s) == formula(name, s));
      CHECK(falling.at(s) == kMin + kMax - formula(name, s));
    }
  }
}

TEST_CASE("k schedule: half of a step rounds to even") {
  const KSchedule schedule = schedule_of("linear", 1, 5, 8);  // 4 s / 8
  CHECK(schedule.at(1) == 1);                                 // 0.5 -> 0
  CHECK(schedule.at(3) == 3);                                 // 1.5 -> 2
  CHECK(schedule.at(5) == 3);                                 // 2.5 -> 2
  CHECK(schedule.at(7) == 5);                                 // 3.5 -> 4
}

TEST_CASE("k schedule: multi_step doubles in equal intervals") {
  const KSchedule schedule = schedule_of("multi_step", 1, 16, 100);
  const std::int64_t expected[] = {1, 2, 4, 8, 16};
  for (std::int64_t s = 0; s < 100; ++s) CHECK(schedule.at(s) == expected[s / 20]);
  CHECK(schedule.at(100) == 16);
  const KSchedule uneven = schedule_of("multi_step", 3, 10, 99);  // 3, 6, 10
  CHECK(uneven.at(32) == 3);
  CHECK(uneven.at(33) == 6);
  CHECK(uneven.at(66) == 10);
  const KSchedule falling = schedule_of("multi_step_decrease", 1, 16, 100);
  CHECK(falling.at(0) == 16);
  CHECK(falling.at(99) == 1);
}

TEST_CASE("k schedule: before the start and after the end it stays within its range") {
  for (const char* name : {"linear", "cosine", "exponential", "multi_step"}) {
    const KSchedule schedule = schedule_of(name, 2, 6, 10);
    CHECK(schedule.at(-5) == schedule.at(0));
    CHECK(schedule.at(0) == 2);
    CHECK(schedule.at(1000) == schedule.at(10));
    CHECK(schedule.at(1000) <= 6);
  }
}

TEST_CASE("k schedule: training follows it, inference takes moe.k or what it is asked for") {
  const KSchedule schedule = schedule_of("linear", 0, 0, 100);  // E / 2 to E
  nn::ForwardContext ctx = training_context();
  CHECK(schedule(ctx) == 8);
  ctx.step = 100;
  CHECK(schedule(ctx) == 16);
  nn::ForwardContext inference;
  inference.step = 100;
  CHECK(schedule(inference) == 2);
  inference.experts_per_token = 5;
  CHECK(schedule(inference) == 5);
  inference.experts_per_token = 99;
  CHECK(schedule(inference) == 16);

  const KSchedule fixed = schedule_of("none", 0, 0, 0);
  CHECK(fixed(ctx) == 2);
  const KSchedule recipe = schedule_of("auto", 0, 0, 100, "smoe_dropout");
  CHECK(recipe(ctx) == 16);
}

}  // namespace simsmoe::moe
