// See trainer.hpp.

#include "apps/trainer.hpp"

#include <chrono>
#include <cmath>

#include "apps/generation.hpp"
#include "apps/non_finite.hpp"
#include "ops/binary.hpp"

namespace simsmoe::app {

namespace {

// Tried before the first step: a prompt that the vocabulary cannot express would otherwise stop the run at
// its first sample. The default one gives way to an empty one, since nobody asked for it.
std::string usable_prompt(const std::string& prompt, const Tokenizer& tokenizer) {
  try {
    tokenizer.encode(prompt);
  } catch (const UserError& error) {
    if (prompt == TrainConfig().sample_prompt) return {};
    throw UserError(fmt::format("train.sample_prompt: {}", error.what()));
  }
  return prompt;
}

// Adds those of one of 1 / share micro-batches.
void add_metrics(nn::Metrics& sum, const nn::Metrics& metrics, double share) {
  for (const auto& [name, value] : metrics)
    if (name.find("/loss/") != std::string::npos)
      sum[name] += share * value;
    else
      sum[name] = value;
}

}  // namespace

Trainer::Trainer(const Config& config, Device device) : Trainer(config, device, nullptr, {}) {}

Trainer::Trainer(RunCheckpoint checkpoint, Device device)
    : Trainer(checkpoint.config, device, std::move(checkpoint.tokenizer), std::move(checkpoint.model)) {
  if (checkpoint.fingerprint != data_.corpus.fingerprint())
    throw UserError(fmt::format("{} is not the text that this run began with: {} now, {} then",
                                data_.corpus.path(), data_.corpus.fingerprint(), checkpoint.fingerprint));
  optimizer_->load(checkpoint.optimizer);
  state_ = checkpoint.state;
}

Trainer::Trainer(const Config& config, Device device, std::unique_ptr<Tokenizer> tokenizer,
                 std::vector<NamedTensor> tensors)
    : config_(config),
      data_(config.data, std::move(tokenizer)),
      sample_prompt_(usable_prompt(config.train.sample_prompt, *data_.tokenizer)),
      batches_(data_.train, config.train.batch, config.train.seq,
               static_cast<std::uint64_t>(config.train.seed)),
      validation_(data_.valid, config.train.batch, config.train.seq, config.train.eval_batches),
      model_(config, data_.tokenizer->vocab_size(), device, std::move(tensors)),
      optimizer_(nn::make_optimizer(model_.store, config.train)),
      schedule_(config.train) {}

StepReport Trainer::step(bool collect_metrics) {
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t micro_batches = config_.train.accumulate;
  const double share = 1.0 / static_cast<double>(micro_batches);
  StepReport report;
  if (config_.moe.similarity.enabled) report.auxiliary["similarity"] = 0.0;  // most steps have no such term
  model_.store.clear_grads();
  for (std::int64_t i = 0; i < micro_batches; ++i) {
    Tape tape;
    nn::ForwardContext ctx = context(i, collect_metrics);
    const Variable value = loss(i, ctx, report);
    if (!std::isfinite(value.value().item())) stop_at_non_finite("the loss", state_.step + 1);
    tape.backward(value);
    add_metrics(report.metrics, ctx.metrics, share);
  }
  // The gradients in the leaves are sums over the micro-batches; the scale makes them means.
  report.gradient_norm = share * nn::global_gradient_norm(model_.store);
  if (!std::isfinite(report.gradient_norm)) stop_at_non_finite("the gradient norm", state_.step + 1);
  report.lr = schedule_(state_.step);
  optimizer_->step(model_.store, report.lr, share * nn::clip_scale(report.gradient_norm, config_.train.clip));
  model_.store.clear_grads();
  ++state_.step;
  report.tokens = micro_batches * config_.train.batch * config_.train.seq;
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

nn::ForwardContext Trainer::context(std::int64_t micro_batch, bool collect_metrics) const {
  nn::ForwardContext ctx;
  ctx.training = true;
  ctx.step = static_cast<std::uint64_t>(state_.step);
  ctx.draw = static_cast<std::uint64_t>(state_.step * config_.train.accumulate + micro_batch);
  ctx.compute_dtype = config_.train.compute_dtype();
  ctx.collect_metrics = collect_metrics;
  return ctx;
}

Batch Trainer::batch(std::int64_t micro_batch) const {
  Batch batch = batches_.at(static_cast<std::uint64_t>(state_.step * config_.train.accumulate + micro_batch));
  batch.tokens = batch.tokens.to(model_.store.device());
  batch.targets = batch.targets.to(model_.store.device());
  return batch;
}

Variable Trainer::loss(std::int64_t micro_batch, nn::ForwardContext& ctx, StepReport& report) const {
  const double share = 1.0 / static_cast<double>(config_.train.accumulate);
  const Batch data = batch(micro_batch);
  const Variable task = model_.decoder->loss(data.tokens, data.targets, ctx);
  const Variable auxiliary = ctx.losses.total();
  Variable total = auxiliary.defined() ? ops::add(task, auxiliary) : task;
  report.task += share * task.value().item();
  report.total += share * total.value().item();
  for (const auto& [name, value] : ctx.losses.by_name()) report.auxiliary[name] += share * value;
  return total;
}

void Trainer::stop_at_non_finite(const std::string& what, std::int64_t step) const {
  std::string culprit;
  for (std::int64_t i = 0; i < config_.train.accumulate && culprit.empty(); ++i)
    culprit = first_non_finite(model_.store, [&] {
      nn::ForwardContext ctx = context(i, false);
      StepReport ignored;
      return loss(i, ctx, ignored);
    });
  if (culprit.empty()) culprit = "none of a training batch alone";
  throw Error(
      fmt::format("{} is not finite at step {}; first tensor that is not finite: {}", what, step, culprit));
}

Evaluation Trainer::validate() const { return validate_on(validation_); }

Evaluation Trainer::validate_all() const {
  return validate_on(EvaluationBatches(data_.valid, config_.train.batch, config_.train.seq));
}

Evaluation Trainer::validate_on(const EvaluationBatches& batches) const {
  Evaluation result = evaluate(
      *model_.decoder, batches, data_.valid.bytes_per_token(),
      {.compute_dtype = config_.train.compute_dtype(), .compare_experts = config_.train.compare_experts});
  if (!std::isfinite(result.nats_per_token)) stop_at_non_finite("the validation loss", state_.step);
  return result;
}

bool Trainer::improves(const Evaluation& evaluation) {
  if (!(evaluation.bits_per_byte < state_.best_bpc)) return false;
  state_.best_bpc = evaluation.bits_per_byte;
  return true;
}

std::string Trainer::sample() {
  const TrainConfig& train = config_.train;
  const SamplingOptions options{.temperature = train.sample_temperature,
                                .seed = static_cast<std::uint64_t>(train.seed)};
  return sample_prompt_ + generate(*model_.decoder, *data_.tokenizer, sample_prompt_, train.sample_tokens,
                                   options, train.compute_dtype());
}

void Trainer::save(const std::string& path, bool with_optimizer) const {
  const std::string culprit = first_non_finite(model_.store);
  if (!culprit.empty()) throw Error(fmt::format("{} is not finite after step {}", culprit, state_.step));
  save_run_checkpoint(path, config_, data_, state_, model_.store,
                      with_optimizer ? optimizer_.get() : nullptr);
}

}  // namespace simsmoe::app
