// The trainer with a task that is no language: what it tells the task, what it does with the numbers, and the update.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/trainer.hpp"
#include "engine/file.hpp"
#include "tests/apps/regression.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

struct Training {
  explicit Training(const Config& config = regression_config())
      : task(new Regression()), trainer(config, std::unique_ptr<Task>(task)) {}
  Regression* task;
  Trainer trainer;
};

// A step by hand, the mean of its micro-batches: losses and gradients at w, b.
struct ByHand {
  ByHand(double w, double b, std::uint64_t first) {
    for (std::uint64_t number = first; number < first + 3; ++number) {
      for (std::uint64_t point = 2 * number; point < 2 * number + 2; ++point) {
        const double e = w * Regression::x(point) + b - Regression::y(point);
        task += e * e / 6.0;
        dw += e * Regression::x(point) / 3.0;
        db += e / 3.0;
      }
      if (number % 3 == 1) {
        seldom += Regression::kSeldom * b / 3.0;
        db += Regression::kSeldom / 3.0;
      }
    }
    ridge = Regression::kRidge * w * w + 2.0 * Regression::kRidge * b * b;
    dw += 2.0 * Regression::kRidge * w;
    db += 4.0 * Regression::kRidge * b;
  }
  double norm() const { return std::hypot(dw, db); }
  double task = 0.0, ridge = 0.0, seldom = 0.0, dw = 0.0, db = 0.0;
};

doctest::Approx about(double value) { return doctest::Approx(value).epsilon(1e-12); }

}  // namespace

TEST_CASE("another task: the loss falls, and validations improve with it") {
  Training training;
  Trainer& trainer = training.trainer;
  const Validation before = trainer.validate();
  CHECK(before.summary == "eight points");
  CHECK(before.metrics.read().at("valid/mse") == before.score);
  CHECK(training.task->validations == 1);
  CHECK(trainer.improves(before));
  CHECK(trainer.state().best_score == before.score);
  CHECK_FALSE(trainer.improves(before));  // as good is not better
  double first = 0.0, last = 0.0;
  while (!trainer.finished()) {
    last = trainer.step(false).metrics.read().at("train/loss");
    if (trainer.state().step == 1) first = last;
  }
  CHECK(trainer.state().step == 60);
  CHECK(last < 0.2 * first);
  const Validation after = trainer.validate();
  CHECK(after.score < 0.02 * before.score);
  CHECK(trainer.improves(after));
  CHECK_FALSE(trainer.improves(before));
  CHECK(trainer.state().best_score == after.score);
}

TEST_CASE("another task: every pass is told where it stands, and whoever learns from it learns once a step") {
  Config config = regression_config();
  config.train.dtype = Precision::bf16;
  config.train.recompute = Recompute::sublayers;
  Training training(config);
  training.trainer.step(false);
  training.trainer.step(true);
  std::vector<Pass> expected;
  for (std::uint64_t n = 0; n < 6; ++n)
    expected.push_back({n, n / 3, n, true, n >= 3, true, DType::bf16, n % 3});
  CHECK(training.task->passes == expected);
  CHECK(training.task->notes == std::vector<std::vector<double>>{{0, 1, 2}, {3, 4, 5}});
  CHECK(training.task->learned_at == std::vector<std::uint64_t>{0, 1});
}

TEST_CASE("another task: a step is the mean of its micro-batches, auxiliary losses included") {
  for (const double clip : {0.0, 1e3, 0.5}) {
    CAPTURE(clip);
    Config config = regression_config();
    config.train.clip = clip;
    Training training(config);
    double w = Regression::kWeight, b = Regression::kBias;
    for (std::uint64_t step = 0; step < 3; ++step) {
      const ByHand hand(w, b, 3 * step);
      const StepReport report = training.trainer.step(true);
      const std::map<std::string, double> values = report.metrics.read();
      CHECK(report.auxiliary == std::vector<std::string>{"ridge", "seldom"});
      CHECK(values.at("train/task") == about(hand.task));
      CHECK(values.at("train/ridge") == about(hand.ridge));
      CHECK(values.at("train/seldom") == about(hand.seldom));
      CHECK(values.at("train/loss") == about(hand.task + hand.ridge + hand.seldom));
      CHECK(values.at("train/mse") == about(hand.task));
      CHECK(values.at("grad_norm") == about(hand.norm()));
      const double scale = clip > 0.0 && hand.norm() > clip ? clip / hand.norm() : 1.0;
      CHECK((scale < 1.0) == (clip == 0.5));
      w -= 0.25 * scale * hand.dw;
      b -= 0.25 * scale * hand.db;
      CHECK(training.task->parameter("map.weight") == doctest::Approx(w).epsilon(1e-6));
      CHECK(training.task->parameter("map.bias") == doctest::Approx(b).epsilon(1e-6));
      CHECK(report.lr == 0.25);
      CHECK(report.tokens == 6);
      CHECK(report.seconds > 0.0);
      w = training.task->parameter("map.weight");
      b = training.task->parameter("map.bias");
    }
    for (const nn::Parameter& parameter : training.task->store().parameters())
      CHECK_FALSE(parameter.variable.grad().defined());  // released as soon as they were used
  }
}

TEST_CASE("another task: metrics combine over the micro-batches as they say") {
  Training training;
  const std::map<std::string, double> values = training.trainer.step(true).metrics.read();  // of 5, 4 and 3
  CHECK(values.at("train/mean") == 4.0);
  CHECK(values.at("train/sum") == 12.0);
  CHECK(values.at("train/last") == 3.0);
  CHECK(values.at("train/max") == 5.0);
  CHECK(values.at("train/part") == about(4.0 / 3.0));
  CHECK_FALSE(training.trainer.step(false).metrics.read().contains("train/mean"));
  CHECK(training.trainer.step(false).numbers.empty());
  const StepReport report = training.trainer.step(true);
  CHECK(report.numbers == report.metrics.read());
}

TEST_CASE("another task: a checkpoint holds its metadata, its buffers and how far the training is") {
  const TemporaryFolder folder;
  Training training;
  training.trainer.step(false);
  training.trainer.step(false);
  const Validation validation = training.trainer.validate();
  training.trainer.improves(validation);
  training.trainer.save(folder / "with", true);
  training.trainer.save(folder / "without", false);
  const RunCheckpoint with = load_run_checkpoint(folder / "with"),
                      without = load_run_checkpoint(folder / "without");
  CHECK(with.metadata_at("unit") == "metre");
  CHECK(with.state.step == 2);
  CHECK(with.state.best_score == validation.score);
  CHECK(with.config.train.accumulate == 3);
  CHECK_FALSE(with.optimizer.tensors.empty());
  CHECK(without.optimizer.tensors.empty());
  std::map<std::string, double> numbers;
  for (const NamedTensor& entry : with.model) numbers[entry.name] = entry.tensor.item();
  CHECK(numbers == std::map<std::string, double>{{"map.weight", training.task->parameter("map.weight")},
                                                 {"map.bias", training.task->parameter("map.bias")},
                                                 {"map.steps", 2.0}});
}

TEST_CASE("another task: a number that is not finite stops the step, is named, and changes nothing") {
  Training training, untouched;
  training.trainer.step(false);
  untouched.trainer.step(false);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double w = training.task->parameter("map.weight"), b = training.task->parameter("map.bias");
  std::string message;
  SUBCASE("in a parameter") {
    training.task->store().find("map.bias")->variable.value().fill(nan);
    message = "the loss is not finite at step 2; first tensor that is not finite: parameter map.bias";
  }
  SUBCASE("in an operation of the last micro-batch") {
    training.task->spoil = [=](std::uint64_t number, const Variable& loss) {
      return number == 5 ? ops::scale(loss, nan) : loss;
    };
    message = "the loss is not finite at step 2; first tensor that is not finite: the output f64 [] of op ";
  }
  SUBCASE("in a gradient") {
    const Variable bias = training.task->store().find("map.bias")->variable;
    training.task->spoil = [=](std::uint64_t, const Variable& loss) {  // 0, whose slope is infinite
      return ops::add(loss, ops::sum(ops::sqrt(ops::sub(bias, bias.detach()))));
    };
    message =
        "the gradient norm is not finite at step 2; first tensor that is not finite: the gradient f64 [1] of "
        "an intermediate result in the backward pass of op 'sqrt'";
  }
  CHECK_THROWS_WITH_AS(training.trainer.step(false), doctest::Contains(message.c_str()), Error);
  training.task->spoil = {};
  if (message.find("parameter map.bias") != std::string::npos)
    training.task->store().find("map.bias")->variable.value().fill(b);
  CHECK(training.trainer.state().step == 1);
  CHECK(training.task->parameter("map.weight") == w);
  CHECK(training.task->parameter("map.bias") == b);
  CHECK(training.task->notes.size() == 1);
  CHECK(training.trainer.step(false).metrics.read() == untouched.trainer.step(false).metrics.read());
  CHECK(training.task->notes == untouched.task->notes);
  CHECK(training.task->parameter("map.weight") == untouched.task->parameter("map.weight"));
}

TEST_CASE("another task: a validation that is not finite stops the training") {
  Training training;
  training.task->penalty = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH_AS(
      training.trainer.validate(),
      "the validation loss is not finite at step 0; first tensor that is not finite: none of "
      "a training batch alone",
      Error);
  training.task->store().find("map.weight")->variable.value().fill(std::numeric_limits<double>::infinity());
  CHECK_THROWS_WITH_AS(
      training.trainer.validate(),
      "the validation loss is not finite at step 0; first tensor that is not finite: parameter map.weight",
      Error);
}

TEST_CASE("another task: the search for a number that is not finite keeps what it looks at") {
  Config config = regression_config();
  config.train.recompute = Recompute::sublayers;
  Training training(config);
  training.task->spoil = [](std::uint64_t number, const Variable& loss) {
    return number == 1 ? ops::scale(loss, std::numeric_limits<double>::infinity()) : loss;
  };
  CHECK_THROWS_AS(training.trainer.step(true), Error);
  // The three passes of the step, and again up to the one at fault, with all results on the tape.
  REQUIRE(training.task->passes.size() == 5);
  CHECK(training.task->passes[2].recompute);
  for (const std::size_t i : {3, 4}) {
    CHECK_FALSE(training.task->passes[i].recompute);
    CHECK_FALSE(training.task->passes[i].collect_metrics);
    CHECK(training.task->passes[i].number == i - 3);
    CHECK(training.task->passes[i].noted == i - 3);
  }
  CHECK(training.task->notes.empty());
}
