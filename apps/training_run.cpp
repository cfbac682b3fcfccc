// See training_run.hpp. The keys of the metrics are explained in README.md.

#include "apps/training_run.hpp"

#include <cmath>

#include "apps/config_io.hpp"
#include "apps/interrupt.hpp"
#include "apps/manifest.hpp"
#include "engine/caching_allocator.hpp"
#include "engine/file.hpp"

namespace simsmoe::app {

TrainingRun::TrainingRun(Trainer& trainer, RunFolder folder)
    : trainer_(trainer),
      folder_(std::move(folder)),
      metrics_(folder_.metrics(), trainer.state().step),
      progress_(trainer.state().step, trainer.config().train.steps) {
  const std::string config = dump_config(trainer.config());
  const std::string manifest = manifest_of(trainer).dump(2) + "\n";
  const std::string_view config_pieces[] = {config}, manifest_pieces[] = {manifest};
  replace_file(folder_.config(), config_pieces);
  replace_file(folder_.manifest(), manifest_pieces);
  if (trainer.state().step == 0) trainer.save(folder_.last_checkpoint(), true);
}

bool TrainingRun::run() {
  while (!trainer_.finished()) {
    const bool interrupted = step();
    if (interrupted && !trainer_.finished()) return false;
  }
  return true;
}

bool TrainingRun::step() {
  try {
    const StepReport report =
        trainer_.step(due(trainer_.state().step + 1, trainer_.config().train.log_every));
    const bool interrupted = InterruptRequests::pending();
    after_step(report, interrupted);
    return interrupted;
  } catch (const UserError&) {
    throw;
  } catch (const Error& error) {
    throw Error(fmt::format("{}; the last good checkpoint is {}", error.what(), folder_.last_checkpoint()));
  }
}

// The log line comes before the checkpoint: a crash between the two leaves lines behind the checkpoint's
// step, which the resumed run drops and writes again. An interrupt waits for the validation and the sample
// of its step: the resumed run begins behind them.
void TrainingRun::after_step(const StepReport& report, bool interrupted) {
  const TrainConfig& train = trainer_.config().train;
  const std::int64_t now = trainer_.state().step;
  Json line{{"step", now}};
  seconds_ += report.seconds;
  tokens_ += report.tokens;
  progress_.advance(now, fmt::format("loss {:.4f}  {:.0f} tokens/s", report.total,
                                     static_cast<double>(tokens_) / seconds_));
  if (due(now, train.log_every)) add_training(line, report);
  if (due(now, train.eval_every)) add_validation(line);
  if (due(now, train.sample_every) && train.sample_tokens > 0) add_sample(line);
  if (line.size() > 1) metrics_.append(line);
  if (interrupted || due(now, train.save_every)) trainer_.save(folder_.last_checkpoint(), true);
}

bool TrainingRun::due(std::int64_t step, std::int64_t every) const {
  return step == trainer_.config().train.steps || (every > 0 && step % every == 0);
}

void TrainingRun::add_training(Json& line, const StepReport& report) {
  const double speed = static_cast<double>(tokens_) / seconds_;
  const double bpc = bits_per_byte(report.task, trainer_.data().train.bytes_per_token());
  CachingAllocator& memory = allocator(trainer_.model().store.device());
  line["train/loss"] = report.total;
  line["train/task"] = report.task;
  std::string auxiliary;
  for (const auto& [name, value] : report.auxiliary) {
    line["train/" + name] = value;
    auxiliary += fmt::format("  {} {:.4f}", name, value);
  }
  line["train/bpc"] = bpc;
  line["lr"] = report.lr;
  line["grad_norm"] = report.gradient_norm;
  line["tokens"] = trainer_.state().step * report.tokens;
  line["tokens_per_s"] = speed;
  line["memory_bytes"] = memory.stats().peak_bytes;
  for (const auto& [name, value] : report.metrics) line[name] = value;
  if (!progress_.on_terminal())
    progress_.line(fmt::format(
        "step {}/{}  loss {:.4f}  task {:.4f}{}  bpc {:.3f}  lr {:.2e}  grad {:.2f}  "
        "{:.0f} tokens/s  {:.0f} MB",
        trainer_.state().step, trainer_.config().train.steps, report.total, report.task, auxiliary, bpc,
        report.lr, report.gradient_norm, speed, static_cast<double>(memory.stats().peak_bytes) / 1e6));
  memory.reset_peak();
  seconds_ = 0.0;
  tokens_ = 0;
}

void TrainingRun::add_validation(Json& line) {
  const Evaluation result = trainer_.validate();
  const bool best = trainer_.improves(result);
  if (best) trainer_.save(folder_.best_checkpoint(), false);
  line["valid/loss"] = result.nats_per_token;
  line["valid/bpc"] = result.bits_per_byte;
  line["valid/tokens"] = result.tokens;
  add_expert_likeness(line, result.metrics);
  progress_.line(fmt::format("step {}  validation {:.4f} bits per character{}", trainer_.state().step,
                             result.bits_per_byte, best ? ", the best so far" : ""));
}

// What the layers measured, and its mean over those whose experts meet often enough.
void TrainingRun::add_expert_likeness(Json& line, const nn::Metrics& metrics) {
  double sum = 0.0, layers = 0.0;
  for (const auto& [name, value] : metrics) {
    line[name] = value;
    if (!name.ends_with("/expert_cka")) continue;
    sum += value;
    layers += 1.0;
  }
  if (layers > 0.0) line["valid/expert_cka"] = sum / layers;
}

void TrainingRun::add_sample(Json& line) {
  const std::string text = trainer_.sample();
  line["sample"] = text;
  progress_.line(fmt::format("step {}  sample: {}", trainer_.state().step, text));
}

}  // namespace simsmoe::app
