// What is due after a step. The keys of the metrics are explained in README.md.

#include "apps/training_run.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <numeric>
#include <utility>

#include "apps/config_io.hpp"
#include "apps/interrupt.hpp"
#include "apps/manifest.hpp"
#include "engine/caching_allocator.hpp"
#include "engine/file.hpp"
#include "engine/log.hpp"
#include "engine/printable.hpp"

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

// "  load 0.03-0.31  dropped 0.0125": the smallest and the largest share of the choices that an expert of any layer got,
// and, where a capacity may drop some, the mean share that found no room. Nothing where no layer has experts.
std::string load_text(const std::map<std::string, double>& values, bool drops) {
  std::vector<double> least, most, dropped;
  for (const auto& [name, value] : values)
    for (const auto& [ending, kept] :
         {std::pair{"/load_min", &least}, std::pair{"/load_max", &most}, std::pair{"/dropped", &dropped}})
      if (name.ends_with(ending)) kept->push_back(value);
  if (least.empty()) return {};
  const std::string text =
      fmt::format("  load {:.2f}-{:.2f}", std::ranges::min(least), std::ranges::max(most));
  const double sum = std::accumulate(dropped.begin(), dropped.end(), 0.0);
  return drops ? fmt::format("{}  dropped {:.4f}", text, sum / static_cast<double>(dropped.size())) : text;
}

}  // namespace

// The line of a step that is unfinished comes again.
TrainingRun::TrainingRun(Trainer& trainer, RunFolder folder)
    : trainer_(trainer),
      folder_(prepared(trainer, std::move(folder))),
      metrics_(folder_.metrics(), trainer.state().step - (trainer.state().unfinished_line.empty() ? 0 : 1)),
      progress_("", trainer.state().step) {}

bool TrainingRun::run() {
  bool interrupted = finish_step();
  while (!interrupted && !trainer_.finished()) interrupted = step();
  return !interrupted || (trainer_.finished() && trainer_.state().unfinished_line.empty());
}

bool TrainingRun::finish_step() {
  const std::string line = trainer_.take_unfinished_line();
  if (line.empty()) return false;
  log_info("step {}  goes on with what an interrupt put off", trainer_.state().step);
  return with_last_good([&] { return after_step(Json::parse(line)); });
}

bool TrainingRun::step() {
  return with_last_good([&] {
    return after_step(
        training_line(trainer_.step(due(trainer_.state().step + 1, trainer_.config().train.log_every))));
  });
}

template <class F>
bool TrainingRun::with_last_good(const F& work) const {
  try {
    return work();
  } catch (const UserError& error) {
    throw UserError(error.what() + last_good());
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(error.what() + last_good());
  } catch (const Error& error) {
    throw Error(error.what() + last_good());
  }
}

std::string TrainingRun::finish() {
  const Ending ending = trainer_.task().ending({metrics_.training_seconds(), validation_seconds_});
  Json result{{"step", trainer_.state().step}};
  result.update(ending.figures);
  const std::string text = result.dump(2) + "\n";
  const std::string_view pieces[] = {text};
  replace_file(folder_.result(), pieces);
  return ending.lines;
}

std::string TrainingRun::last_good() const {
  return fmt::format("; the last good checkpoint is {}", folder_.last_checkpoint());
}

nlohmann::ordered_json TrainingRun::training_line(const StepReport& report) {
  const TrainConfig& train = trainer_.config().train;
  const std::int64_t now = trainer_.state().step;
  Json line{{"step", now}};
  seconds_ += report.seconds;
  tokens_ += report.tokens;
  const double speed = static_cast<double>(tokens_) / seconds_;  // since the last log line
  if (due(now, train.log_every)) add_training(line, report);
  progress_.advance(now, train.steps,
                    {fmt::format("{}/{}", now, train.steps), fmt::format("loss {:.4f}", loss_),
                     fmt::format("{:.0f} tokens/s", speed)});
  return line;
}

// The log line comes before the checkpoint: a crash between the two leaves lines behind the checkpoint's
// step, which the resumed run drops and writes again.
bool TrainingRun::after_step(Json line) {
  const TrainConfig& train = trainer_.config().train;
  const std::int64_t now = trainer_.state().step;
  const TrainingState before = trainer_.state();
  const std::string begun = line.dump();
  try {
    if (due(now, train.eval_every)) add_validation(line);
    if (due(now, train.sample_every)) add_sample(line);
  } catch (const Interrupted&) {
    trainer_.put_off(before, begun);
    trainer_.save(folder_.last_checkpoint(), true);
    return true;
  }
  if (line.size() > 1) metrics_.append(line);
  const bool interrupted = InterruptRequests::pending(), save = due(now, train.save_every);
  if (save && train.keep > 0) save_numbered();
  if (interrupted || save) trainer_.save(folder_.last_checkpoint(), true);
  return interrupted;
}

// Before the last checkpoint, which lists it: a crash between the two leaves a file that is written again.
void TrainingRun::save_numbered() {
  const nn::Steps surplus = trainer_.keep_this_step();
  trainer_.save(folder_.numbered_checkpoint(trainer_.state().step), true);
  std::error_code gone;
  for (const std::int64_t step : surplus) std::filesystem::remove(folder_.numbered_checkpoint(step), gone);
}

bool TrainingRun::due(std::int64_t step, std::int64_t every) const {
  return step == trainer_.config().train.steps || trainer_.stops_early() || (every > 0 && step % every == 0);
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
  std::vector<std::string> names{"loss", "task"};
  names.insert(names.end(), report.auxiliary.begin(), report.auxiliary.end());
  names.push_back(trainer_.task().score_name());
  std::string text;
  for (const std::string& name : names)  // a task may have its score in validations only
    if (const auto value = values.find("train/" + name); value != values.end())
      text += fmt::format("  {} {:.4f}", name, value->second);
  log_info("step {}/{}{}  lr {:.2e}  grad {:.2f}{}  {:.0f} tokens/s  {:.0f} MB", trainer_.state().step,
           trainer_.config().train.steps, text, report.lr, values.at("grad_norm"),
           load_text(values, trainer_.config().moe.capacity_factor > 0.0), speed,
           static_cast<double>(memory.stats().peak_bytes) / 1e6);
  for (const std::string& sentence : starving) log_info("step {}  {}", trainer_.state().step, sentence);
  memory.reset_peak();
  seconds_ = 0.0;
  tokens_ = 0;
}

void TrainingRun::add_validation(Json& line) {
  const auto start = std::chrono::steady_clock::now();
  const Validation result = trainer_.validate();
  validation_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const bool best = trainer_.improves(result);
  if (best) trainer_.save(folder_.best_checkpoint(), false);
  for (const auto& [name, value] : result.metrics.read()) line[name] = value;
  log_info("step {}  {}{}", trainer_.state().step, result.summary, best ? ", the best so far" : "");
  if (trainer_.stops_early())
    log_info("step {}  ends the training: {} (train.patience)", trainer_.state().step,
             trainer_.state().without_gain == 1
                 ? "a validation that is no better"
                 : fmt::format("{} validations in a row that are no better", trainer_.state().without_gain));
}

void TrainingRun::add_sample(Json& line) {
  const std::string text = printable(trainer_.task().sample());
  if (text.empty()) return;
  line["sample"] = text;
  log_info("step {}  sample: {}", trainer_.state().step, text);
}

}  // namespace simsmoe::app
