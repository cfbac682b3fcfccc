// Steps, and what stops them.

#include "apps/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "apps/non_finite.hpp"
#include "ops/binary.hpp"
#include "ops/unary.hpp"

namespace simsmoe::app {

Trainer::Trainer(const Config& config, Device device) : Trainer(config, make_task(config, device)) {}

Trainer::Trainer(RunCheckpoint checkpoint, Device device)
    : Trainer(checkpoint.config, make_task(checkpoint, device)) {
  optimizer_->load(checkpoint.optimizer);
  state_ = checkpoint.state;
}

Trainer::Trainer(const Config& config, std::unique_ptr<Task> task)
    : config_(config),
      task_(std::move(task)),
      optimizer_(nn::make_optimizer(task_->store(), config.train)),
      schedule_(config.train) {}

StepReport Trainer::step(bool collect_metrics) {
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t micro_batches = config_.train.accumulate;
  const nn::ParameterStore& store = task_->store();
  StepReport report;
  nn::Observations observed;
  Variable sum;
  store.clear_grads();
  for (std::int64_t i = 0; i < micro_batches; ++i) {
    Tape tape;
    nn::ForwardContext ctx = context(state_.step, i, collect_metrics);
    ctx.observed = std::move(observed);
    const Variable value = loss(ctx);
    tape.backward(value);
    sum = sum.defined() ? ops::add(sum, value.detach()) : value.detach();
    report.metrics.merge(ctx.metrics);
    report.auxiliary.assign(ctx.losses.names().begin(), ctx.losses.names().end());
    observed = std::move(ctx.observed);
  }
  // The gradients in the leaves are sums over the micro-batches; the share makes them means.
  const double share = 1.0 / static_cast<double>(micro_batches);
  const Tensor norm = ops::scale(Variable(nn::global_gradient_norm(store)), share).value();
  unread_.push_back({state_.step + 1, sum.value(), norm});
  report.metrics.add("", "grad_norm", norm, nn::Combine::last);
  if (collect_metrics)
    report.numbers = check_finite(report.metrics);
  else if (store.device().is_cpu())
    check_finite();

  observed.end_step(static_cast<std::uint64_t>(state_.step));
  report.lr = schedule_(state_.step);
  optimizer_->step(store, report.lr,
                   ops::scale(Variable(nn::clip_scale(norm, config_.train.clip)), share).value());
  store.clear_grads();
  ++state_.step;
  report.tokens = micro_batches * task_->tokens_per_batch();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

nn::ForwardContext Trainer::context(std::int64_t step, std::int64_t micro_batch, bool collect_metrics) const {
  nn::ForwardContext ctx;
  ctx.training = true;
  ctx.step = static_cast<std::uint64_t>(step);
  ctx.draw = static_cast<std::uint64_t>(step * config_.train.accumulate + micro_batch);
  ctx.compute_dtype = config_.train.compute_dtype();
  ctx.recompute = config_.train.recompute == Recompute::sublayers;
  ctx.collect_metrics = collect_metrics;
  return ctx;
}

Variable Trainer::loss(nn::ForwardContext& ctx) const {
  const Variable task = task_->loss(ctx.draw, ctx);
  const Variable auxiliary = ctx.losses.total();
  Variable total = auxiliary.defined() ? ops::add(task, auxiliary) : task;
  ctx.metrics.add("train", "loss", total.value(), nn::Combine::per_pass);
  ctx.metrics.add("train", "task", task.value(), nn::Combine::per_pass);
  ctx.losses.report(ctx.metrics, "train");
  return total;
}

std::map<std::string, double> Trainer::check_finite(const nn::Metrics& metrics) {
  const std::vector<Unread> steps = std::exchange(unread_, {});
  std::vector<Tensor> scalars;
  for (const Unread& step : steps) scalars.insert(scalars.end(), {step.loss, step.gradient_norm});
  std::vector<double> values;
  std::map<std::string, double> numbers = metrics.read(scalars, values);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!std::isfinite(values[2 * i])) stop_at_non_finite("the loss", steps[i].step);
    if (!std::isfinite(values[2 * i + 1])) stop_at_non_finite("the gradient norm", steps[i].step);
  }
  return numbers;
}

// The step, counted from 1, is run again, without recomputation: what is looked at must be on the tape.
void Trainer::stop_at_non_finite(const std::string& what, std::int64_t step) const {
  std::string culprit;
  nn::Observations observed;
  for (std::int64_t i = 0; i < config_.train.accumulate && culprit.empty(); ++i)
    culprit = first_non_finite(task_->store(), [&] {
      nn::ForwardContext ctx = context(std::max<std::int64_t>(step - 1, 0), i, false);
      ctx.recompute = false;
      ctx.observed = std::move(observed);
      Variable value = loss(ctx);
      observed = std::move(ctx.observed);
      return value;
    });
  if (culprit.empty()) culprit = "none of a training batch alone";
  throw Error(
      fmt::format("{} is not finite at step {}; first tensor that is not finite: {}", what, step, culprit));
}

Validation Trainer::validate() const {
  Validation result = task_->validate();
  if (!std::isfinite(result.score)) stop_at_non_finite("the validation loss", state_.step);
  return result;
}

bool Trainer::improves(const Validation& validation) {
  const bool best = validation.score < state_.best_score;
  state_.without_gain = best ? 0 : state_.without_gain + 1;
  if (best) state_.best_score = validation.score;
  return best;
}

nn::Steps Trainer::keep_this_step() {
  nn::Steps& kept = state_.kept;
  kept.push_back(state_.step);
  const auto few = kept.end() - std::min<std::ptrdiff_t>(std::ssize(kept), config_.train.keep);
  nn::Steps surplus(kept.begin(), few);
  kept.erase(kept.begin(), few);
  return surplus;
}

void Trainer::put_off(const TrainingState& before, std::string line) {
  state_ = before;
  state_.unfinished_line = std::move(line);
}

void Trainer::save(const std::string& path, bool with_optimizer) {
  check_finite();
  const std::string culprit = first_non_finite(task_->store());
  if (!culprit.empty()) throw Error(fmt::format("{} is not finite after step {}", culprit, state_.step));
  save_run_checkpoint(path, config_, task_->metadata(), state_, task_->store(),
                      with_optimizer ? optimizer_.get() : nullptr);
}

}  // namespace simsmoe::app
