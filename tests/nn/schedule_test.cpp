// The learning rates, value by value, and the refused options.

#include "nn/schedule.hpp"

#include <cmath>

#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

namespace {

void check_values(const ScheduleOptions& options, const std::vector<std::pair<std::int64_t, double>>& table) {
  const Schedule schedule(options);
  for (const auto& entry : table) {
    CAPTURE(name_of(options.schedule));
    CAPTURE(entry.first);
    CHECK(schedule(entry.first) == doctest::Approx(entry.second).epsilon(1e-14));
  }
}

}  // namespace

TEST_CASE("schedules") {
  const ScheduleOptions base{.steps = 14, .lr = 2.0, .warmup = 4, .min_ratio = 0.1};
  const auto named = [&](Decay decay) {
    ScheduleOptions options = base;
    options.schedule = decay;
    return options;
  };
  check_values(named(Decay::constant), {{0, 0.5}, {1, 1.0}, {3, 2.0}, {4, 2.0}, {13, 2.0}, {1000, 2.0}});
  check_values(named(Decay::linear), {{0, 0.5}, {3, 2.0}, {4, 2.0}, {9, 1.1}, {14, 0.2}, {1000, 0.2}});
  check_values(named(Decay::cosine), {{0, 0.5},
                                      {4, 2.0},
                                      {9, 1.1},
                                      {7, 0.2 + 1.8 * 0.5 * (1.0 + std::cos(std::acos(-1.0) * 0.3))},
                                      {14, 0.2},
                                      {1000, 0.2}});
  ScheduleOptions multi_step = named(Decay::multi_step);
  multi_step.milestones = {6, 8, 10};
  multi_step.gamma = 0.5;
  multi_step.min_ratio = 0.2;
  check_values(multi_step, {{3, 2.0}, {5, 2.0}, {6, 1.0}, {7, 1.0}, {8, 0.5}, {10, 0.4}, {1000, 0.4}});
}

TEST_CASE("a schedule without warm-up starts at the peak, a warm-up may last to the end") {
  check_values({.steps = 10, .lr = 1.0, .warmup = 0, .min_ratio = 0.0}, {{0, 1.0}, {5, 0.5}, {10, 0.0}});
  for (const std::int64_t warmup : {10, 50})  // a longer one is cut
    check_values({.steps = 10, .lr = 1.0, .schedule = Decay::linear, .warmup = warmup}, {{0, 0.1}, {9, 1.0}});
}

TEST_CASE("a schedule names the option that is out of range") {
  const auto refused = [](ScheduleOptions options, const char* message) {
    CHECK_THROWS_WITH_AS(Schedule(std::move(options)), doctest::Contains(message), UserError);
  };
  refused({.lr = 0.0}, "train.lr: expected a number > 0, got 0");
  refused({.lr = std::nan("")}, "train.lr: expected a number > 0, got nan");
  refused({.steps = 0}, "train.steps: expected a whole number in [1, ");
  refused({.warmup = -1}, "train.warmup: expected a whole number >= 0, got -1");
  refused({.min_ratio = 1.5}, "train.min_lr_ratio: expected a number in [0, 1], got 1.5");
  refused({.schedule = Decay::multi_step, .milestones = {5, 3}},
          "train.milestones: expected ascending steps");
  refused({.schedule = Decay::multi_step, .milestones = {5, 5}},
          "train.milestones: expected ascending steps");
  refused({.schedule = Decay::multi_step, .milestones = {0}}, "train.milestones: expected ascending steps");
  refused({.schedule = Decay::multi_step}, "train.milestones go together");
  refused({.milestones = {5}}, "train.milestones go together");
  refused({.gamma = 0.0}, "train.gamma: expected a number in (0, 1], got 0");
  CHECK_THROWS_AS(Schedule({})(-1), Error);
}

}  // namespace simsmoe::nn
