// train [CONFIG.toml] [--out DIR] [--init MODEL] [--section.key=value ...]   and   train --resume DIR

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <sstream>

#include "apps/commands/command_line.hpp"
#include "apps/data/text.hpp"
#include "apps/folder_lock.hpp"
#include "apps/interrupt.hpp"
#include "apps/training_run.hpp"
#include "engine/file.hpp"
#include "engine/log.hpp"
#include "engine/printable.hpp"
#include "engine/profile.hpp"

namespace simsmoe::app {

namespace {

struct TrainLine {
  std::string config, out, init, resume, profile;
  Machine machine;
};

Config new_config(const TrainLine& line, const std::vector<Override>& overrides) {
  Config config;
  if (!line.config.empty())
    read_config_file(config, line.config);
  else if (!line.init.empty())
    config = load_run_checkpoint(find_checkpoint(line.init)).config;
  if (!line.init.empty()) apply_overrides(config, {{"train.init", line.init}});
  apply_overrides(config, overrides);
  if (!config.train.init.empty()) config.train.init = find_checkpoint(config.train.init);
  config.validate();
  return config;
}

// More steps stretch the schedule: the rate at the step that was reached may be another one than it was going to be.
void mention_jump(const Config& before, const Config& after, std::int64_t step) {
  const double was = nn::Schedule(before.train)(step), is = nn::Schedule(after.train)(step);
  if (std::abs(is - was) > 0.01 * was)
    log_warn("train.steps = {} in place of {} moves the learning rate of step {} from {:.3g} to {:.3g}",
             after.train.steps, before.train.steps, step + 1, was, is);
}

// A resumed run keeps its configuration, or it would not be the same run. It may get more steps and keep more
// checkpoints, and its text may have moved (its fingerprint must be the same).
const std::vector<std::string> kResumable{"train.steps",       "train.patience", "train.keep",
                                          "train.final_share", "data.path",      "data.folder"};

// Nothing reads config.toml back. A person who edits it expects otherwise, and is told before it is written again.
void check_not_edited(const RunFolder& folder, const RunCheckpoint& checkpoint) {
  if (!std::filesystem::exists(folder.config())) return;
  Config edited, begun = checkpoint.config;
  read_config(edited, read_file(folder.config()), folder.config(), FormerNames::accept);
  const nn::FieldList fields = begun.fields(), edited_fields = edited.fields();
  for (const nn::Field& field : fields.all()) {
    const std::string then = nn::value_text(field), now = nn::value_text(edited_fields.at(field.name));
    if (now == then) continue;
    if (std::ranges::find(kResumable, field.name) == kResumable.end())
      throw UserError(fmt::format(
          "{} was edited, {} = {} instead of {}: a resumed run keeps its configuration; take the edit "
          "back, or begin another run with train {}",
          folder.config(), field.name, now, then, folder.config()));
    log_warn("{} has {} = {}, but this run {}; --{} changes it", folder.config(), field.name, now, then,
             field.name);
  }
}

RunCheckpoint resumed_checkpoint(const RunFolder& folder, const std::vector<Override>& overrides) {
  allow_overrides(overrides, kResumable, "train --resume");
  RunCheckpoint checkpoint = load_run_checkpoint(folder.last_checkpoint());
  const Config before = checkpoint.config;
  check_not_edited(folder, checkpoint);
  apply_overrides(checkpoint.config, overrides);
  if (checkpoint.config.train.steps < checkpoint.state.step)
    throw UserError(fmt::format("--train.steps={} is less than the {} steps that {} has done",
                                checkpoint.config.train.steps, checkpoint.state.step, folder.path()));
  mention_jump(before, checkpoint.config, checkpoint.state.step);
  return checkpoint;
}

// After the file of the configuration, or else the text's; a stream or a pattern has no name to take.
std::string run_name(const TrainLine& line, const Config& config) {
  for (const std::string& file : {line.config, config.data.path})
    if (std::filesystem::is_regular_file(file)) return std::filesystem::path(file).stem().string();
  return config.data.name;
}

void announce(const Trainer& trainer, const std::string& folder) {
  const nn::Account account = trainer.task().account();
  log_info("{}", trainer.task().headline());
  log_info("{:.2f} M parameters, {:.2f} M of them active per token, {:.1f} MFLOP per token forward",
           static_cast<double>(account.parameters) / 1e6,
           static_cast<double>(account.active_parameters) / 1e6, account.flops_per_token / 1e6);
  Config config = trainer.config(), defaults;
  const nn::FieldList fields = config.fields();
  if (const auto off = nn::losses_off(fields); !off.empty())
    log_info("auxiliary losses that are off: {}", fmt::join(off, ", "));
  if (const auto idle = nn::idle_options(fields, defaults.fields()); !idle.empty())
    log_warn("options without effect: {}", fmt::join(idle, ", "));
  if (config.has_experts())
    for (const std::string& remark : config.moe.remarks()) log_warn("{}", remark);
  if (trainer.stops_early())
    log_info("ended early at step {} (train.patience = {}), run folder {}", trainer.state().step,
             config.train.patience, folder);
  else if (trainer.finished())
    log_info("all {} steps are done, run folder {}", trainer.state().step, folder);
  else
    log_info("steps {} to {}, run folder {}", trainer.state().step + 1, trainer.config().train.steps, folder);
}

// The training is done and saved, whoever reads of it.
void print_if_read(const std::string& text) {
  try {
    print_result(text);
  } catch (const OutputClosed&) {
  }
}

// Throws Interrupted where the sample is asked to end.
void print_summary(const Task& task, const std::string& folder) {
  if (const std::string sample = printable(task.sample()); !sample.empty())
    print_if_read(fmt::format("sample      {}\n", sample));
  print_if_read(fmt::format("run folder  {}\n", printable(folder)));
}

void print_profile() {
  profile::stop();
  std::ostringstream table;
  profile::print_table(table);
  print_if_read(table.str());
}

// `train --profile config.toml` forgets the name of the trace.
void check_trace_file(const std::string& file) {
  constexpr std::string_view kTrace = "{\"traceEvents\"";
  if (!std::filesystem::is_regular_file(file) || std::filesystem::file_size(file) == 0) return;
  const Text text = Text::of_file(file);
  if (text.bytes(0, std::min(text.size(), kTrace.size())) != kTrace)
    throw UserError(fmt::format("--profile: {} exists already and is no trace: choose another name", file));
}

}  // namespace

int train_command(Arguments arguments) {
  const std::vector<Override> overrides = take_overrides(arguments);
  CLI::App app{"Trains a decoder on text.", "train"};
  TrainLine line;
  app.add_option("CONFIG", line.config,
                 "TOML file, - for standard input; without one all keys have their defaults")
      ->check(not_empty());
  app.add_option("--out", line.out, "run folder to make; default: the next free runs/NAME-N")
      ->check(not_empty());
  app.add_option(
         "--init", line.init,
         "begin with the parameters of this checkpoint, or of this run folder's best; without CONFIG with "
         "its configuration, too")
      ->check(not_empty());
  app.add_option("--resume", line.resume, "go on with the run of this folder")
      ->check(not_empty())
      ->excludes("CONFIG", "--out", "--init");
  app.add_option("--profile", line.profile,
                 "time every op: a table at the end, and this file for chrome://tracing; for short runs")
      ->check(not_empty());
  line.machine.add_options(app);
  app.footer(config_help());
  if (!parse(app, std::move(arguments))) return 0;

  check_trace_file(line.profile);
  const SignalHandler no_reader(SIGPIPE, SIG_IGN);  // `| head` ends no training
  std::optional<InterruptRequests> interrupts;      // from when there is something to be saved
  std::optional<FolderLock> lock;
  std::optional<Trainer> trainer;
  std::unique_ptr<TrainingRun> run;
  std::string path;
  if (!line.resume.empty()) {
    path = line.resume;
    const RunFolder folder = RunFolder::open(path);
    lock.emplace(path, IfLocked::refuse);  // before the checkpoint is read: nobody may write a later one
    RunCheckpoint checkpoint = resumed_checkpoint(folder, overrides);
    const Device device = line.machine.use(checkpoint.threads);
    trainer.emplace(std::move(checkpoint), device);
    interrupts.emplace();
    run = std::make_unique<TrainingRun>(*trainer, folder);
  } else {
    const Config config = new_config(line, overrides);
    const Device device = line.machine.use();
    if (!line.out.empty()) RunFolder::check_free(line.out);
    trainer.emplace(config, device);
    interrupts.emplace();
    const RunFolder folder =
        line.out.empty() ? RunFolder::create_next(run_name(line, config)) : RunFolder::create(line.out);
    path = folder.path();
    lock.emplace(path, IfLocked::refuse);
    run = std::make_unique<TrainingRun>(*trainer, folder);
  }
  announce(*trainer, path);
  if (!line.profile.empty()) profile::start(true);
  const bool trained = run->run();
  if (!line.profile.empty()) print_profile();
  int exit_code = 0;
  std::string place = "at";
  try {
    if (!trained) throw Interrupted();
    place = "in the final validation, after";
    print_if_read(run->finish());
    place = "in the last sample, after";
    print_summary(trainer->task(), path);
  } catch (const Interrupted&) {
    log_info("interrupted {} step {}; go on with: simsmoe_app train --resume {}", place,
             trainer->state().step, path);
    exit_code = kInterruptedExitCode;
  }
  if (!line.profile.empty())
    profile::write_chrome_trace(line.profile);  // last: where it fails, all else is done
  return exit_code;
}

}  // namespace simsmoe::app
