// Numbered checkpoints, trainings that end early, and trainings that begin with a checkpoint.

#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "apps/interrupt.hpp"
#include "apps/language_modelling.hpp"
#include "apps/training_run.hpp"
#include "engine/file.hpp"
#include "tests/apps/regression.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;
namespace fs = std::filesystem;

namespace {

std::set<std::string> checkpoints_of(const RunFolder& run) {
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(run.path() + "/checkpoints"))
    names.insert(entry.path().stem().string());
  return names;
}

using Names = std::set<std::string>;

// Of each line that has a validation: its step.
std::vector<std::int64_t> validated(const RunFolder& run) {
  std::vector<std::int64_t> steps;
  std::istringstream lines(read_file(run.metrics()));
  for (std::string line; std::getline(lines, line);)
    if (const auto values = nlohmann::json::parse(line); values.contains("valid/mse"))
      steps.push_back(values.at("step"));
  return steps;
}

// A training of a text, interrupted behind each of these steps and resumed.
RunFolder trained(const Config& config, const std::string& path, const std::set<std::int64_t>& stops = {}) {
  Trainer first(config, kCpu);
  const RunFolder run = RunFolder::create(path);
  bool finished = false;
  {
    const InterruptRequests interrupts;
    TrainingRun training(first, run);
    if (!stops.empty()) ::raise(SIGINT);  // behind step 1
    finished = training.run();
  }
  for (int resumed = 0; !finished && resumed < 50; ++resumed) {
    Trainer next(load_run_checkpoint(run.last_checkpoint()), kCpu);
    const InterruptRequests interrupts;
    TrainingRun training(next, RunFolder::open(path));
    training.finish_step();
    if (stops.contains(next.state().step + 1)) ::raise(SIGINT);
    finished = training.run();
  }
  CHECK(finished);
  return RunFolder::open(path);
}

// Every step is one to stop behind.
std::set<std::int64_t> all_steps(std::int64_t last) {
  std::set<std::int64_t> steps;
  for (std::int64_t step = 1; step <= last; ++step) steps.insert(step);
  return steps;
}

void check_same_checkpoints(const RunFolder& a, const RunFolder& b) {
  CHECK(checkpoints_of(a) == checkpoints_of(b));
  for (const std::string& name : checkpoints_of(a)) {
    CAPTURE(name);
    const std::string file = "/checkpoints/" + name + ".safetensors";
    CHECK(read_file(a.path() + file) == read_file(b.path() + file));
  }
}

std::map<std::string, std::vector<double>> values_of(const std::vector<NamedTensor>& tensors) {
  std::map<std::string, std::vector<double>> values;
  for (const NamedTensor& entry : tensors) values[entry.name] = entry.tensor.to_vector<double>();
  return values;
}

}  // namespace

TEST_CASE("the newest numbered checkpoints of a run stay, and whatever else lies beside them") {
  const TemporaryFolder folder;
  Config config = regression_config();
  config.train.steps = 9;
  config.train.eval_every = 0;
  config.train.save_every = 2;
  config.train.keep = 3;
  Trainer trainer(config, std::make_unique<Regression>());
  const RunFolder run = RunFolder::create(folder / "run");
  TrainingRun training(trainer, run);
  for (const std::int64_t step : {1, 3, 1000}) std::ofstream(run.numbered_checkpoint(step)) << "mine";
  CHECK(training.run());
  CHECK(checkpoints_of(run) == Names{"best", "last", "step-000001", "step-000003", "step-000006",
                                     "step-000008", "step-000009", "step-001000"});
  CHECK(read_file(run.numbered_checkpoint(3)) == "mine");
  CHECK(read_file(run.numbered_checkpoint(9)) == read_file(run.last_checkpoint()));
  const RunCheckpoint eighth = load_run_checkpoint(run.numbered_checkpoint(8));
  CHECK(eighth.state.step == 8);
  CHECK(eighth.state.kept == nn::Steps{4, 6, 8});
  CHECK_FALSE(eighth.optimizer.tensors.empty());
}

TEST_CASE("a run keeps no numbered checkpoints unless it is told to") {
  const TemporaryFolder folder;
  Config config = regression_config();
  config.train.steps = 4;
  config.train.save_every = 2;
  Trainer trainer(config, std::make_unique<Regression>());
  const RunFolder run = RunFolder::create(folder / "run");
  CHECK(TrainingRun(trainer, run).run());
  CHECK(checkpoints_of(run) == Names{"best", "last"});
}

TEST_CASE("patience: a training ends when validations in a row bring nothing better, and says so") {
  const TemporaryFolder folder;
  Config config = regression_config();
  config.train.steps = 40;
  config.train.log_every = 40;
  config.train.eval_every = 2;
  config.train.save_every = config.train.sample_every = 0;
  config.train.patience = 3;
  config.train.keep = 1;
  auto* const task = new Regression();
  Trainer trainer(config, std::unique_ptr<Task>(task));
  task->text = "at the end";
  // Step 4 is worse than step 2, step 6 the best, all behind it are worse.
  task->spoil = [task](std::uint64_t number, const Variable& loss) {
    const std::uint64_t step = number / 3 + 1;
    task->penalty = step == 6 ? -1.0 : static_cast<double>(step);
    return loss;
  };
  const RunFolder run = RunFolder::create(folder / "run");
  CHECK(TrainingRun(trainer, run).run());
  CHECK(trainer.finished());
  CHECK(trainer.stops_early());
  CHECK(validated(run) == std::vector<std::int64_t>{2, 4, 6, 8, 10, 12});
  CHECK(load_run_checkpoint(run.best_checkpoint()).state.step == 6);
  const RunCheckpoint last = load_run_checkpoint(run.last_checkpoint());
  CHECK(last.state.step == 12);
  CHECK(last.state.without_gain == 3);
  CHECK(checkpoints_of(run) == Names{"best", "last", "step-000012"});
  const std::string metrics = read_file(run.metrics());
  CHECK(metrics.find("\"sample\":\"at the end\"") != std::string::npos);
  CHECK(metrics.find("\"sample\":") == metrics.rfind("\"sample\":"));
}

TEST_CASE("patience 0 ends no training, and patience without validations is a mistake") {
  Config config = regression_config();
  config.train.steps = 8;
  config.train.eval_every = 1;
  auto* const task = new Regression();
  Trainer trainer(config, std::unique_ptr<Task>(task));
  for (int i = 0; i < 5; ++i) trainer.improves({.score = 1.0 + i, .metrics = {}, .summary = ""});
  CHECK(trainer.state().without_gain == 4);
  CHECK_FALSE(trainer.finished());

  Config none = tiny_config("text");
  none.train.patience = 2;
  CHECK_NOTHROW(none.validate());
  none.train.eval_every = 0;
  CHECK_THROWS_WITH_AS(none.validate(),
                       doctest::Contains("train.patience = 2 waits for validations, and "
                                         "train.eval_every = 0"),
                       UserError);
}

TEST_CASE(
    "stopped behind every step and resumed, a run has the checkpoints and the early end of one that ran "
    "through") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.model.layers = 1;
  config.train.lr = 0.3;  // too much: validations become worse
  config.train.warmup = 0;
  config.train.eval_every = 1;
  config.train.eval_batches = 1;
  config.train.save_every = 2;
  config.train.keep = 2;
  config.train.patience = 4;
  const RunFolder straight = trained(config, folder / "straight");
  const std::int64_t end = load_run_checkpoint(straight.last_checkpoint()).state.step;
  CHECK(end > 5);
  CHECK(end < config.train.steps);
  check_same_checkpoints(straight, trained(config, folder / "stopped", all_steps(end)));
  check_same_checkpoints(straight, trained(config, folder / "once", {1}));
  const auto started_at = [](const RunFolder& run) {
    return nlohmann::json::parse(read_file(run.manifest())).at("started_at_step").get<std::int64_t>();
  };
  CHECK(started_at(straight) == 0);
  CHECK(started_at(RunFolder::open(folder / "once")) == 1);
}

TEST_CASE("train.init: a training begins with the parameters of a checkpoint, and with nothing else of it") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.train.steps = 12;
  config.train.eval_every = config.train.save_every = 4;
  config.moe.router = "loss_free";  // which has a buffer
  const RunFolder first = trained(config, folder / "first");
  Config next = config;
  next.data.path = folder.file("other", "zebras and " + small_text());
  next.train.seed = 7;
  next.train.lr = 0.01;
  next.train.init = first.last_checkpoint();
  Trainer begun(next, kCpu);
  CHECK(begun.state().step == 0);
  CHECK(begun.state().best_score == std::numeric_limits<double>::infinity());
  begun.save(folder / "begun", true);
  const RunCheckpoint before = load_run_checkpoint(first.last_checkpoint()),
                      after = load_run_checkpoint(folder / "begun");
  CHECK(values_of(after.model) == values_of(before.model));
  for (const NamedTensor& entry : after.optimizer.tensors)
    for (const double value : entry.tensor.to_vector<double>()) CHECK(value == 0.0);
  CHECK(after.metadata_at("fingerprint") != before.metadata_at("fingerprint"));
  CHECK(after.config.train.init == first.last_checkpoint());

  next.train.init = first.path();  // the best of a run
  Trainer best(next, kCpu);
  best.save(folder / "begun", true);
  CHECK(values_of(load_run_checkpoint(folder / "begun").model) ==
        values_of(load_run_checkpoint(first.best_checkpoint()).model));

  // Once begun it needs the checkpoint no more.
  next.train.steps = 6;
  const RunFolder straight = trained(next, folder / "straight");
  {
    Trainer trainer(next, kCpu);
    const InterruptRequests interrupts;
    TrainingRun training(trainer, RunFolder::create(folder / "stopped"));
    ::raise(SIGINT);
    CHECK_FALSE(training.run());
  }
  fs::remove_all(first.path());
  Trainer resumed(load_run_checkpoint(folder / "stopped/checkpoints/last.safetensors"), kCpu);
  CHECK(TrainingRun(resumed, RunFolder::open(folder / "stopped")).run());
  check_same_checkpoints(straight, RunFolder::open(folder / "stopped"));
  CHECK_THROWS_WITH_AS(Trainer(next, kCpu), doctest::Contains("there is no run folder or checkpoint"),
                       UserError);
}

TEST_CASE(
    "train.init: a model that is not the checkpoint's is refused by the name of a tensor, with how many "
    "fit") {
  const TemporaryFolder folder;
  const Config config = tiny_config(folder.file("text", small_text()));
  const std::string file = folder / "checkpoint";
  Trainer(config, kCpu).save(file, false);
  const std::size_t all = load_run_checkpoint(file).model.size();
  const auto refused = [&](const std::function<void(Config&)>& change, const std::string& message) {
    Config other = config;
    change(other);
    other.train.init = file;
    const std::string expected = fmt::format("{} (train.init = {})", message, file);
    CHECK_THROWS_WITH_AS(Trainer(other, kCpu), expected.c_str(), UserError);
  };
  const auto fit = [](std::size_t some, std::size_t of) {
    return fmt::format(" ({} of the {} tensors of this model are there in their shape)", some, of);
  };
  refused([](Config& c) { c.model.head_bias = true; },
          "checkpoint is of another model: it lacks tensor head.bias [256]" + fit(all, all + 1));
  refused([](Config& c) { c.model.positions = nn::Positions::none; },
          "checkpoint is of another model: it has 1 tensor that this model lacks, first 'position.weight'" +
              fit(all - 1, all - 1));
  refused([](Config& c) { c.train.seq = 24; },
          "checkpoint is of another model: tensor position.weight is [16, 16] there and [24, 16] here" +
              fit(all - 1, all));
  refused([](Config& c) { c.data.vocab = TokenKind::character; },
          "data.vocab = char would give token ids another meaning than the checkpoint's, which is of byte");
}

TEST_CASE(
    "train.init: a text of other characters than the checkpoint's is refused, one of the same has its ids") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.data.vocab = TokenKind::character;
  const std::string file = folder / "checkpoint";
  Trainer(config, kCpu).save(file, false);
  config.train.init = file;
  std::string fewer = small_text();
  std::ranges::replace(fewer, 'z', 'y');
  config.data.path = folder.file("fewer", fewer);
  const Trainer begun(config, kCpu);
  CHECK(begun.task().metadata().at("vocabulary") == load_run_checkpoint(file).metadata_at("vocabulary"));
  config.data.path = folder.file("more", "Z" + small_text());
  CHECK_THROWS_WITH_AS(
      Trainer(config, kCpu),
      fmt::format("the character 'Z' at byte 0 is not in the model's vocabulary (train.init = {})", file)
          .c_str(),
      UserError);
  config.data.vocab = TokenKind::byte;
  CHECK_THROWS_WITH_AS(Trainer(config, kCpu), doctest::Contains("data.vocab = byte would give token ids"),
                       UserError);
}
