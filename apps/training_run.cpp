// What is due after a step. The keys of the metrics are explained in README.md.

#include "apps/training_run.hpp"

#include "apps/config_io.hpp"
#include "apps/interrupt.hpp"
#include "apps/manifest.hpp"
#include "engine/caching_allocator.hpp"
#include "engine/file.hpp"

namespace simsmoe::app {

namespace {

// Whether config.toml, with whatever notes of a person, holds these values.
bool says(const std::string& file, const std::string& config) {
  try {
    Config written;
    read_config(written, read_file(file), file, FormerNames::accept);
    return dump_config(written) == config;
  } catch (const UserError&) {
    return false;
  }
}

// The folder with the files that a run has from its beginning.
RunFolder prepared(Trainer& trainer, RunFolder folder) {
  const std::string config = dump_config(trainer.config());
  const std::string manifest = manifest_of(trainer).dump(2) + "\n";
  if (folder.is_new()) {
    folder.begin([&](const std::string& path) { trainer.save(path, true); }, config, manifest);
    return folder;
  }
  const std::string_view config_pieces[] = {config}, manifest_pieces[] = {manifest};
  if (!says(folder.config(), config)) replace_file(folder.config(), config_pieces);
  replace_file(folder.manifest(), manifest_pieces);
  return folder;
}

}  // namespace

TrainingRun::TrainingRun(Trainer& trainer, RunFolder folder)
    : trainer_(trainer),
      folder_(prepared(trainer, std::move(folder))),
      metrics_(folder_.metrics(), trainer.state().step),
      progress_(trainer.state().step, trainer.config().train.steps) {}

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
  } catch (const UserError& error) {
    throw UserError(error.what() + last_good());
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(error.what() + last_good());
  } catch (const Error& error) {
    throw Error(error.what() + last_good());
  }
}

std::string TrainingRun::last_good() const {
  return fmt::format("; the last good checkpoint is {}", folder_.last_checkpoint());
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
  const double speed = static_cast<double>(tokens_) / seconds_;  // since the last log line
  if (due(now, train.log_every)) add_training(line, report);
  progress_.advance(now, fmt::format("loss {:.4f}  {:.0f} tokens/s", loss_, speed));
  if (due(now, train.eval_every)) add_validation(line);
  if (due(now, train.sample_every)) add_sample(line);
  if (line.size() > 1) metrics_.append(line);
  if (interrupted || due(now, train.save_every)) trainer_.save(folder_.last_checkpoint(), true);
}

bool TrainingRun::due(std::int64_t step, std::int64_t every) const {
  return step == trainer_.config().train.steps || (every > 0 && step % every == 0);
}

void TrainingRun::add_training(Json& line, const StepReport& report) {
  const double speed = static_cast<double>(tokens_) / seconds_;
  CachingAllocator& memory = allocator(trainer_.task().store().device());
  std::map<std::string, double> values = report.numbers;
  const std::vector<std::string> starving = starvation_.take(values);
  for (const auto& [name, value] : values) line[name] = value;
  line["lr"] = report.lr;
  line["tokens"] = trainer_.state().step * report.tokens;
  line["tokens_per_s"] = speed;
  line["memory_bytes"] = memory.stats().peak_bytes;
  line["memory_reserved_bytes"] = memory.stats().peak_reserved_bytes;
  loss_ = values.at("train/loss");
  if (!progress_.on_terminal()) {
    std::vector<std::string> names{"loss", "task"};
    names.insert(names.end(), report.auxiliary.begin(), report.auxiliary.end());
    names.push_back(trainer_.task().score_name());
    std::string text = fmt::format("step {}/{}", trainer_.state().step, trainer_.config().train.steps);
    for (const std::string& name : names)  // a task may have its score in validations only
      if (const auto value = values.find("train/" + name); value != values.end())
        text += fmt::format("  {} {:.4f}", name, value->second);
    progress_.line(text + fmt::format("  lr {:.2e}  grad {:.2f}  {:.0f} tokens/s  {:.0f} MB", report.lr,
                                      values.at("grad_norm"), speed,
                                      static_cast<double>(memory.stats().peak_bytes) / 1e6));
  }
  for (const std::string& sentence : starving)
    progress_.line(fmt::format("step {}  {}", trainer_.state().step, sentence));
  memory.reset_peak();
  seconds_ = 0.0;
  tokens_ = 0;
}

void TrainingRun::add_validation(Json& line) {
  const Validation result = trainer_.validate();
  const bool best = trainer_.improves(result);
  if (best) trainer_.save(folder_.best_checkpoint(), false);
  for (const auto& [name, value] : result.metrics.read()) line[name] = value;
  progress_.line(
      fmt::format("step {}  {}{}", trainer_.state().step, result.summary, best ? ", the best so far" : ""));
}

void TrainingRun::add_sample(Json& line) {
  const std::string text = trainer_.task().sample();
  if (text.empty()) return;
  line["sample"] = text;
  progress_.line(fmt::format("step {}  sample: {}", trainer_.state().step, text));
}

}  // namespace simsmoe::app
