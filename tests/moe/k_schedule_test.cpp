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

TEST_CASE("k schedule: half of a step rounds to even, whatever the length of the training") {
  for (std::int64_t eighth = 1; eighth < 3000; ++eighth) {
    CAPTURE(eighth);
    const KSchedule linear = schedule_of("linear", 1, 5, 8 * eighth);  // 4 s / (8 eighth)
    CHECK(linear.at(eighth) == 1);                                     // 0.5 -> 0
    CHECK(linear.at(3 * eighth) == 3);                                 // 1.5 -> 2
    CHECK(linear.at(5 * eighth) == 3);                                 // 2.5 -> 2
    CHECK(linear.at(7 * eighth) == 5);                                 // 3.5 -> 4
    // cos(pi / 3) = 1/2
    CHECK(schedule_of("cosine", 1, 8, 3 * eighth).at(2 * eighth) == 4);           // 3.5 -> 4
    CHECK(schedule_of("cosine", 1, 6, 3 * eighth).at(2 * eighth) == 4);           // 2.5 -> 2
    CHECK(schedule_of("cosine_decrease", 1, 6, 3 * eighth).at(2 * eighth) == 3);  // the mirror
  }
}

TEST_CASE("k schedule: multi_step takes 1, 2, 4, 8, 16 in fifths, within its range") {
  using Fifths = std::vector<std::int64_t>;
  const auto fifths = [](const std::string& name, std::int64_t k_min, std::int64_t k_max) {
    Fifths k;
    for (const std::int64_t steps : {5, 100, 999}) {
      const KSchedule schedule = schedule_of(name, k_min, k_max, steps);
      Fifths now;
      for (std::int64_t s = 0; s < steps; ++s) {
        if (const std::int64_t fifth = s * 5 / steps; std::ssize(now) == fifth) now.push_back(schedule.at(s));
        CHECK(schedule.at(s) == now.back());
      }
      CHECK(schedule.at(steps) == now.back());
      if (!k.empty()) CHECK(now == k);
      k = now;
    }
    return k;
  };
  CHECK(fifths("multi_step", 1, 16) == Fifths{1, 2, 4, 8, 16});
  CHECK(fifths("multi_step", 8, 16) == Fifths{8, 8, 8, 8, 16});
  CHECK(fifths("multi_step", 3, 10) == Fifths{3, 3, 4, 8, 10});
  CHECK(fifths("multi_step_decrease", 1, 16) == Fifths{16, 8, 4, 2, 1});
  CHECK(fifths("multi_step_decrease", 1, 8) == Fifths{8, 8, 4, 2, 1});
  CHECK(fifths("multi_step_decrease", 8, 16) == Fifths{16, 8, 8, 8, 8});
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

  const KSchedule fixed = schedule_of("none", 0, 0, 0);  // moe.k = 2
  CHECK(fixed(ctx) == 2);
  const KSchedule recipe = schedule_of("auto", 0, 0, 100, "smoe_dropout");
  CHECK(recipe(ctx) == 16);
}

TEST_CASE(
    "k schedule: a single expert weighs less than 1 where training has one to its end, else as always") {
  constexpr auto kTopk = SelectionOrder::topk_softmax, kSoftmax = SelectionOrder::softmax_topk;
  const auto order = [=](const KSchedule& schedule, bool training, std::uint64_t step, std::int64_t k = 0) {
    nn::ForwardContext ctx;
    ctx.training = training;
    ctx.step = step;
    ctx.experts_per_token = k;
    const Selection selection = schedule.select(ctx, kTopk);
    CHECK(selection.k == schedule(ctx));
    CHECK(schedule.select(ctx, kSoftmax).order == kSoftmax);
    return selection.order;
  };
  MoeOptions options;
  options.k = 2;
  const KSchedule two(options, 0);
  CHECK(order(two, true, 0) == kTopk);
  CHECK(order(two, false, 0) == kTopk);
  CHECK(order(two, false, 0, 1) == kTopk);  // trained with two: weight 1
  options.k = 1;
  const KSchedule one(options, 0);
  CHECK(order(one, true, 0) == kSoftmax);
  CHECK(order(one, false, 0) == kSoftmax);
  CHECK(order(one, false, 0, 3) == kTopk);
  options.variant = Variant::reference;
  const KSchedule published(options, 0);
  CHECK(order(published, true, 0) == kTopk);
  CHECK(order(published, false, 0) == kTopk);

  const KSchedule rising = schedule_of("linear", 1, 4, 9), falling = schedule_of("linear_decrease", 1, 4, 9);
  CHECK(order(rising, true, 0) == kSoftmax);  // one expert now, and its router learns
  CHECK(order(rising, true, 9) == kTopk);
  CHECK(order(rising, false, 0, 1) == kTopk);
  CHECK(order(falling, true, 0) == kTopk);
  CHECK(order(falling, true, 9) == kSoftmax);
  CHECK(order(falling, false, 0, 1) == kSoftmax);
  CHECK(order(falling, false, 0, 2) == kTopk);
}

}  // namespace simsmoe::moe
