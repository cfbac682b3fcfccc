// The learning rates, value by value, and the refused options.

#include "nn/schedule.hpp"

#include <cmath>

#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

namespace {

void check_values(const ScheduleOptions& options, const std::vector<std::pair<std::int64_t, double>>& table) {
  const Schedule schedule(options);
  for (const auto& entry : table) {
    CAPTURE(options.name);
    CAPTURE(entry.first);
    CHECK(schedule(entry.first) == doctest::Approx(entry.second).epsilon(1e-14));
  }
}

}  // namespace

TEST_CASE("schedules") {
  const ScheduleOptions base{.lr = 2.0, .warmup = 4, .steps = 14, .min_ratio = 0.1};
  const auto named = [&](std::string name) {
    ScheduleOptions options = base;
    options.name = std::move(name);
    return options;
  };
  check_values(named("constant"), {{0, 0.5}, {1, 1.0}, {3, 2.0}, {4, 2.0}, {13, 2.0}, {1000, 2.0}});
  check_values(named("linear"), {{0, 0.5}, {3, 2.0}, {4, 2.0}, {9, 1.1}, {14, 0.2}, {1000, 0.2}});
  check_values(named("cosine"), {{0, 0.5},
                                 {4, 2.0},
                                 {9, 1.1},
                                 {7, 0.2 + 1.8 * 0.5 * (1.0 + std::cos(std::acos(-1.0) * 0.3))},
                                 {14, 0.2},
                                 {1000, 0.2}});
  ScheduleOptions multi_step = named("multi_step");
  multi_step.milestones = {6, 8, 10};
  multi_step.gamma = 0.5;
  multi_step.min_ratio = 0.2;
  check_values(multi_step, {{3, 2.0}, {5, 2.0}, {6, 1.0}, {7, 1.0}, {8, 0.5}, {10, 0.4}, {1000, 0.4}});
}

TEST_CASE("a schedule without warm-up starts at the peak, a warm-up may last to the end") {
  check_values({.name = "cosine", .lr = 1.0, .warmup = 0, .steps = 10}, {{0, 1.0}, {5, 0.5}, {10, 0.0}});
  check_values({.name = "linear", .lr = 1.0, .warmup = 10, .steps = 10}, {{0, 0.1}, {9, 1.0}});
}

TEST_CASE("a schedule names the option that is out of range") {
  const auto refused = [](ScheduleOptions options, const char* message) {
    CHECK_THROWS_WITH_AS(Schedule(std::move(options)), doctest::Contains(message), UserError);
  };
  refused({.name = "cosin"}, "unknown schedule 'cosin'");
  refused({.lr = 0.0}, "lr must be positive");
  refused({.lr = std::nan("")}, "lr must be positive");
  refused({.steps = 0}, "steps must be at least 1");
  refused({.warmup = -1}, "warmup must be between");
  refused({.warmup = 3, .steps = 2}, "warmup must be between");
  refused({.min_ratio = 1.5}, "min_ratio must be");
  refused({.milestones = {5, 3}}, "milestones must be");
  refused({.gamma = 0.0}, "gamma must be");
  CHECK_THROWS_AS(Schedule({})(-1), Error);
}

}  // namespace simsmoe::nn
