#pragma once
// A task that is no language: y = w x + b on eight fixed points, two per micro-batch, with auxiliary losses, metrics of
// every kind and something that learns without a gradient. Small enough to be computed by hand.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/task.hpp"
#include "nn/init.hpp"
#include "ops/binary.hpp"
#include "ops/loss.hpp"
#include "ops/matmul.hpp"
#include "ops/reduce.hpp"
#include "ops/unary.hpp"

namespace simsmoe::app {

// What the trainer told the task of a pass.
struct Pass {
  std::uint64_t number, step, draw;
  bool training, collect_metrics, recompute;
  DType compute_dtype;
  std::size_t noted;  // by the earlier passes of its step
  bool operator==(const Pass&) const = default;
};

// Plain descent, three micro-batches per step.
inline Config regression_config() {
  Config config;
  config.train.steps = 60;
  config.train.accumulate = 3;
  config.train.optimizer = nn::UpdateRule::sgd;
  config.train.schedule = nn::Decay::constant;
  config.train.lr = 0.25;
  config.train.warmup = 0;
  config.train.momentum = 0.0;
  config.train.weight_decay = 0.0;
  config.train.clip = 0.0;
  return config;
}

class Regression : public Task, public nn::Learner {
 public:
  static constexpr double kWeight = 0.5, kBias = -0.25, kRidge = 0.01, kSeldom = 0.125;

  Regression() : store_(1, DType::f64) {
    const nn::Scope scope = nn::Scope(store_) / "map";
    weight_ = scope.parameter("weight", {1, 1}, nn::init::constant(kWeight));
    bias_ = scope.parameter("bias", {1}, nn::init::constant(kBias));
    steps_ = scope.buffer("steps", {1}, DType::f64);
  }

  static double x(std::uint64_t point) { return 0.25 * static_cast<double>(point % 8) - 1.0; }
  static double y(std::uint64_t point) { return 2.0 * x(point) + 1.0; }

  const nn::ParameterStore& store() const override { return store_; }
  nn::Account account() const override { return {2, 2, 2.0}; }
  std::int64_t tokens_per_batch() const override { return 2; }

  Variable loss(std::uint64_t number, nn::ForwardContext& ctx) const override {
    passes.push_back({number, ctx.step, ctx.draw, ctx.training, ctx.collect_metrics, ctx.recompute,
                      ctx.compute_dtype, ctx.observed.noted(*this).size()});
    ctx.observed.note(*this, Tensor::scalar(static_cast<double>(number)));
    ctx.losses.add("ridge", "weight", kRidge, ops::sum(ops::square(weight_)));
    ctx.losses.add("ridge", "bias", 2.0 * kRidge, ops::sum(ops::square(bias_)));
    ctx.losses.declare("seldom");
    if (number % 3 == 1) ctx.losses.add("seldom", "bias", kSeldom, ops::sum(bias_));
    if (ctx.collect_metrics) {
      const double value = 5.0 - static_cast<double>(number);
      ctx.metrics.add("train", "mean", value, nn::Combine::mean);
      ctx.metrics.add("train", "sum", value, nn::Combine::sum);
      ctx.metrics.add("train", "last", value, nn::Combine::last);
      ctx.metrics.add("train", "max", value, nn::Combine::max);
      if (number % 3 == 1) ctx.metrics.add("train", "part", value, nn::Combine::per_pass);
    }
    Variable value = error(2 * number, 2);
    if (ctx.collect_metrics && scored_in_training)
      ctx.metrics.add("train", score_name(), value.value(), nn::Combine::per_pass);
    if (spoil) value = spoil(number, value);
    return value;
  }

  Validation validate() const override {
    ++validations;
    Validation result{
        .score = error(0, 8).value().item() + penalty, .metrics = {}, .summary = "eight points"};
    result.metrics.add("valid", score_name(), result.score, nn::Combine::last);
    return result;
  }

  std::string sample() const override { return text; }
  std::string score_name() const override { return "mse"; }
  std::string headline() const override { return "points"; }
  Ending ending(const Pace& pace) const override {
    paces.push_back(pace);
    return {.lines = "the end\n", .figures = {{"valid/mse", validate().score}}};
  }
  nlohmann::ordered_json about_data() const override { return {{"points", 8}}; }
  std::map<std::string, std::string> metadata() const override { return {{"unit", "metre"}}; }

  void end_step(std::span<const Tensor> seen, std::uint64_t step) const override {
    notes.emplace_back();
    for (const Tensor& note : seen) notes.back().push_back(note.item());
    learned_at.push_back(step);
    steps_.fill(static_cast<double>(notes.size()));
  }

  double parameter(const std::string& name) const { return store_.find(name)->variable.value().item(); }

  std::function<Variable(std::uint64_t number, const Variable& loss)> spoil;  // what a test does to a loss
  double penalty = 0.0;                                                       // on its score
  std::string text;
  bool scored_in_training = true;
  mutable std::vector<Pass> passes;
  mutable int validations = 0;
  mutable std::vector<Pace> paces;
  mutable std::vector<std::vector<double>> notes;  // of each step
  mutable std::vector<std::uint64_t> learned_at;

 private:
  Variable error(std::uint64_t first, std::uint64_t count) const {
    std::vector<double> in, out;
    for (std::uint64_t i = first; i < first + count; ++i) {
      in.push_back(x(i));
      out.push_back(y(i));
    }
    const Shape shape{static_cast<std::int64_t>(count), 1};
    return ops::mse(ops::linear(Variable(Tensor::from(in, shape)), weight_, bias_),
                    Variable(Tensor::from(out, shape)));
  }

  nn::ParameterStore store_;
  Variable weight_, bias_;
  Tensor steps_;
};

}  // namespace simsmoe::app
