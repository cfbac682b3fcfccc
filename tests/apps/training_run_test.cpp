// A training in its folder: what it leaves behind when it is interrupted or when its numbers run away.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>

#include <chrono>
#include <limits>
#include <sstream>
#include <thread>

#include "apps/config_io.hpp"
#include "apps/interrupt.hpp"
#include "apps/training_run.hpp"
#include "engine/file.hpp"
#include "tests/apps/regression.hpp"
#include "tests/apps/support.hpp"
#include "tests/engine/terminal.hpp"

using namespace simsmoe;
using namespace simsmoe::app;
using simsmoe::testing::Terminal;

namespace {

// What is written to stderr while it lives.
class Stderr {
 public:
  explicit Stderr(std::string path) : path_(std::move(path)), before_(::dup(2)) {
    std::fflush(stderr);
    const int file = ::open(path_.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    ::dup2(file, 2);
    ::close(file);
  }
  ~Stderr() {
    ::dup2(before_, 2);
    ::close(before_);
  }
  Stderr(const Stderr&) = delete;
  Stderr& operator=(const Stderr&) = delete;

  std::string text() const {
    std::fflush(stderr);
    return read_file(path_);
  }

 private:
  std::string path_;
  int before_;
};

std::map<std::int64_t, nlohmann::json> lines_of(const RunFolder& run) {
  std::map<std::int64_t, nlohmann::json> lines;
  std::istringstream file(read_file(run.metrics()));
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json values = nlohmann::json::parse(line);
    lines[values.at("step")] = values;
  }
  return lines;
}

std::vector<std::int64_t> steps_of(const std::map<std::int64_t, nlohmann::json>& lines) {
  std::vector<std::int64_t> steps;
  for (const auto& [step, line] : lines) steps.push_back(step);
  return steps;
}

// Without what differs from run to run.
std::string comparable(const std::string& metrics) {
  std::istringstream file(metrics);
  std::string text;
  for (std::string line; std::getline(file, line);) {
    auto values = nlohmann::ordered_json::parse(line);
    for (const char* key : {"tokens_per_s", "memory_bytes", "memory_reserved_bytes"}) values.erase(key);
    text += values.dump() + "\n";
  }
  return text;
}

// Logged every 2 steps, validated every 3, saved every 4, sampled every 5.
Config run_config() {
  Config config = regression_config();
  config.train.steps = 7;
  config.train.schedule = nn::Decay::cosine;
  config.train.log_every = 2;
  config.train.eval_every = 3;
  config.train.save_every = 4;
  config.train.sample_every = 5;
  return config;
}

}  // namespace

TEST_CASE("a run logs, validates, samples and saves when each is due, and all at the end") {
  const TemporaryFolder folder;
  auto* const task = new Regression();
  Trainer trainer(run_config(), std::unique_ptr<Task>(task));
  task->text = "so far";
  const RunFolder run = RunFolder::create(folder / "run");
  TrainingRun training(trainer, run);
  CHECK(load_run_checkpoint(run.last_checkpoint()).state.step == 0);
  CHECK(read_file(run.config()) == dump_config(trainer.config()));
  const nlohmann::json manifest = nlohmann::json::parse(read_file(run.manifest()));
  CHECK(manifest.at("data").at("points") == 8);
  CHECK(manifest.at("started_at_step") == 0);
  CHECK(manifest.at("parameters") == 2);
  CHECK(manifest.at("trainable_parameters") == 2);

  std::string shown;
  {
    const Stderr captured(folder / "stderr");
    CHECK(training.run());
    shown = captured.text();
  }
  const auto lines = lines_of(run);
  CHECK(steps_of(lines) == std::vector<std::int64_t>{2, 3, 4, 5, 6, 7});
  for (const auto& [step, line] : lines) {
    CAPTURE(step);
    const bool last = step == 7;
    CHECK(line.contains("train/loss") == (step % 2 == 0 || last));
    CHECK(line.contains("train/mean") == (step % 2 == 0 || last));
    CHECK(line.contains("valid/mse") == (step % 3 == 0 || last));
    CHECK(line.contains("sample") == (step % 5 == 0 || last));
  }
  const nlohmann::json& second = lines.at(2);
  CHECK(second.at("tokens") == 12);
  CHECK(second.at("lr") < 0.25);
  CHECK(second.at("lr") > 0.2);
  CHECK(second.contains("grad_norm"));
  CHECK(lines.at(5).at("sample") == "so far");
  CHECK(shown.find(fmt::format("step 2/7  loss {:.4f}  task {:.4f}  ridge {:.4f}  seldom {:.4f}  mse {:.4f}  "
                               "lr {:.2e}  grad {:.2f}  ",
                               second.at("train/loss").get<double>(), second.at("train/task").get<double>(),
                               second.at("train/ridge").get<double>(),
                               second.at("train/seldom").get<double>(), second.at("train/mse").get<double>(),
                               second.at("lr").get<double>(), second.at("grad_norm").get<double>())) !=
        std::string::npos);
  CHECK(shown.find("step 3  eight points, the best so far\n") != std::string::npos);
  CHECK(shown.find("step 5  sample: so far\n") != std::string::npos);
  const RunCheckpoint at_end = load_run_checkpoint(run.last_checkpoint());
  CHECK(at_end.state.step == 7);
  CHECK_FALSE(at_end.optimizer.tensors.empty());
  CHECK(load_run_checkpoint(run.best_checkpoint()).optimizer.tensors.empty());
}

TEST_CASE("a task may have its score in validations only") {
  const TemporaryFolder folder;
  auto* const task = new Regression();
  Trainer trainer(run_config(), std::unique_ptr<Task>(task));
  task->scored_in_training = false;
  const RunFolder run = RunFolder::create(folder / "run");
  const Stderr captured(folder / "stderr");
  CHECK(TrainingRun(trainer, run).run());
  CHECK(captured.text().find("mse") == std::string::npos);
  CHECK(lines_of(run).at(3).contains("valid/mse"));
}

TEST_CASE("on a terminal a bar shows the step and the last loss below the lines of the log") {
  const TemporaryFolder folder;
  Config config = run_config();
  config.train.steps = 4;
  auto* const task = new Regression();
  Trainer trainer(config, std::unique_ptr<Task>(task));
  task->spoil = [](std::uint64_t number, const Variable& loss) {
    if (number % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(110));  // redrawn in each step
    return loss;
  };
  const RunFolder run = RunFolder::create(folder / "run");
  std::string shown;
  {
    const Terminal terminal;
    TrainingRun(trainer, run).run();
    shown = terminal.text();
  }
  const auto lines = lines_of(run);
  for (const std::int64_t logged : {2, 4}) {
    const double loss = lines.at(logged).at("train/loss");
    const std::string bar =
        fmt::format("{} %  {}/4  loss {:.4f}  ", logged == 2 ? " 50" : "100", logged, loss);
    CHECK_MESSAGE(shown.find(bar) != std::string::npos, shown);
  }
  CHECK(shown.find(fmt::format("3/4  loss {:.4f}  ", lines.at(2).at("train/loss").get<double>())) !=
        std::string::npos);
  CHECK(shown.find("step 3  eight points, the best so far") != std::string::npos);
  for (const std::int64_t logged : {2, 4})
    CHECK(shown.find(fmt::format("{}step {}/4  loss {:.4f}  task {:.4f}  ridge {:.4f}  ",
                                 logged == 2 ? "\r\x1b[J" : "\n", logged,
                                 lines.at(logged).at("train/loss").get<double>(),
                                 lines.at(logged).at("train/task").get<double>(),
                                 lines.at(logged).at("train/ridge").get<double>())) != std::string::npos);
}

TEST_CASE("a log line shows how evenly the experts are used, and what a capacity drops") {
  const auto line_of = [](double capacity) {
    const TemporaryFolder folder;
    Config config = tiny_config(folder.file("text", small_text()));
    config.train.steps = 1;
    config.moe.capacity_factor = capacity;
    Trainer trainer(config, kCpu);
    const RunFolder run = RunFolder::create(folder / "run");
    const Stderr captured(folder / "stderr");
    CHECK(TrainingRun(trainer, run).run());
    const nlohmann::json values = lines_of(run).at(1);
    const auto of = [&](int layer, const char* name) {
      return values.at(fmt::format("layers.{}.feed_forward/{}", layer, name)).get<double>();
    };
    const std::string load =
        fmt::format("  load {:.2f}-{:.2f}", std::min(of(0, "load_min"), of(1, "load_min")),
                    std::max(of(0, "load_max"), of(1, "load_max")));
    const std::string dropped = fmt::format("  dropped {:.4f}", (of(0, "dropped") + of(1, "dropped")) / 2.0);
    CHECK((of(0, "dropped") > 0.0) == (capacity > 0.0));
    CHECK(captured.text().find(capacity > 0.0 ? load + dropped + "  " : load + "  ") != std::string::npos);
  };
  line_of(0.0);
  line_of(0.5);
}

TEST_CASE("a finished run ends with its final validation, which knows what the training took") {
  const TemporaryFolder folder;
  Config config = run_config();
  config.train.steps = 4;
  auto* const task = new Regression();
  Trainer trainer(config, std::unique_ptr<Task>(task));
  const RunFolder run = RunFolder::create(folder / "run");
  TrainingRun training(trainer, run);
  CHECK(training.run());
  CHECK(task->validations == 2);  // after steps 3 and 4
  CHECK_FALSE(std::filesystem::exists(run.result()));
  CHECK(training.finish() == "the end\n");
  const auto lines = lines_of(run);
  double seconds = 0.0;
  for (const std::int64_t logged : {2, 4})
    seconds += 12.0 / lines.at(logged).at("tokens_per_s").get<double>();
  REQUIRE(task->paces.size() == 1);
  CHECK(task->paces[0].training_seconds == doctest::Approx(seconds));
  CHECK(task->paces[0].validation_seconds > 0.0);
  CHECK(task->validations == 3);  // the last of them by ending()
  CHECK(nlohmann::json::parse(read_file(run.result())) ==
        nlohmann::json{{"step", 4}, {"valid/mse", task->validate().score}});
}

TEST_CASE("the log knows how long the training took, in all of its sessions") {
  const TemporaryFolder folder;
  const std::string path = folder / "metrics.jsonl";
  {
    MetricsLog log(path, 0);
    CHECK(log.training_seconds() == 0.0);
    log.append({{"step", 1}, {"tokens", 100}, {"tokens_per_s", 50.0}});
    log.append({{"step", 2}, {"valid/bpb", 1.0}});
    log.append({{"step", 3}, {"tokens", 300}, {"tokens_per_s", 100.0}});
    CHECK(log.training_seconds() == 4.0);
    log.append({{"step", 4}, {"tokens", 400}, {"tokens_per_s", std::numeric_limits<double>::quiet_NaN()}});
  }
  CHECK(MetricsLog(path, 4).training_seconds() == 4.0);
  CHECK(MetricsLog(path, 2).training_seconds() == 2.0);
}

TEST_CASE("a run that fails leaves the checkpoints and lines of the steps before") {
  const TemporaryFolder folder;
  auto* const task = new Regression();
  Trainer trainer(run_config(), std::unique_ptr<Task>(task));
  task->spoil = [](std::uint64_t number, const Variable& loss) {
    return number < 15 ? loss : ops::scale(loss, std::numeric_limits<double>::infinity());
  };
  const RunFolder run = RunFolder::create(folder / "run");
  TrainingRun training(trainer, run);
  const std::string message =
      fmt::format("; the last good checkpoint is {}", run.last_checkpoint());  // begun by the trainer
  CHECK_THROWS_WITH_AS(training.run(), doctest::Contains(message.c_str()), Error);
  CHECK(load_run_checkpoint(run.last_checkpoint()).state.step == 4);
  CHECK(load_run_checkpoint(run.best_checkpoint()).state.step == 3);
  CHECK(steps_of(lines_of(run)) == std::vector<std::int64_t>{2, 3, 4});  // no text: no sample at 5
}

TEST_CASE("speed and memory are those since the line before") {
  const TemporaryFolder folder;
  Config config = run_config();
  config.train.steps = 4;
  auto* const task = new Regression();
  Trainer trainer(config, std::unique_ptr<Task>(task));
  constexpr std::size_t kBytes = 32 << 20;
  task->spoil = [](std::uint64_t number, const Variable& loss) {
    if (number % 6 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (number == 0) (void)Tensor::empty({kBytes}, DType::u8, kCpu);
    return loss;
  };
  const RunFolder run = RunFolder::create(folder / "run");
  TrainingRun(trainer, run).run();
  const auto lines = lines_of(run);
  const double speed = lines.at(4).at("tokens_per_s");
  CHECK(speed <= 120.0);  // 12 tokens in at least 0.1 s
  CHECK(speed > 60.0);
  CHECK(lines.at(2).at("memory_bytes") >= kBytes);
  CHECK(lines.at(4).at("memory_bytes") < kBytes);
}

TEST_CASE(
    "an interrupt puts off the validation and the sample of its step, which a resumed run makes first") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.train.steps = 3;
  config.train.eval_every = 1;
  config.train.sample_every = 1;
  config.train.save_every = 2;
  config.train.keep = 2;
  Trainer first(config, kCpu);
  const RunFolder straight = RunFolder::create(folder / "straight"), run = RunFolder::create(folder / "run");
  CHECK(TrainingRun(first, straight).run());

  Trainer trainer(config, kCpu);
  const auto interrupted = [](TrainingRun training) {
    const InterruptRequests interrupts;
    ::raise(SIGINT);
    return !training.run();
  };
  CHECK(interrupted(TrainingRun(trainer, run)));
  CHECK_FALSE(InterruptRequests::pending());  // the next run is not interrupted by it
  for (int resumed = 0; resumed < 2; ++resumed) {
    const RunCheckpoint checkpoint = load_run_checkpoint(run.last_checkpoint());
    CHECK(checkpoint.state.step == 1);
    CHECK(checkpoint.state.best_score == std::numeric_limits<double>::infinity());
    CHECK(read_file(run.metrics()).empty());
    CHECK_FALSE(std::filesystem::exists(run.best_checkpoint()));
    Trainer again(checkpoint, kCpu);
    CHECK(interrupted(TrainingRun(again, RunFolder::open(run.path()))));
  }
  {  // ended without a checkpoint behind the line
    Trainer again(load_run_checkpoint(run.last_checkpoint()), kCpu);
    CHECK_FALSE(TrainingRun(again, RunFolder::open(run.path())).finish_step());
    CHECK(again.take_unfinished_line().empty());
    CHECK(steps_of(lines_of(run)) == std::vector<std::int64_t>{1});
  }
  Trainer last(load_run_checkpoint(run.last_checkpoint()), kCpu);
  CHECK(TrainingRun(last, RunFolder::open(run.path())).run());
  CHECK(comparable(read_file(run.metrics())) == comparable(read_file(straight.metrics())));
  for (const auto file : {&RunFolder::best_checkpoint, &RunFolder::last_checkpoint})
    CHECK(read_file((run.*file)()) == read_file((straight.*file)()));
  for (const int step : {2, 3})
    CHECK(read_file(run.numbered_checkpoint(step)) == read_file(straight.numbered_checkpoint(step)));
}

TEST_CASE(
    "a sample that is interrupted is made again, and so is the validation before it, which counts once") {
  struct Interrupting : Regression {
    mutable int left = 1;
    std::string sample() const override {
      if (left-- > 0) throw Interrupted();
      return "text";
    }
  };
  Config config = run_config();
  config.train.steps = 4;
  config.train.eval_every = config.train.sample_every = 4;
  config.train.patience = 1;
  const TemporaryFolder folder;
  Trainer trainer(config, std::make_unique<Interrupting>());
  const RunFolder run = RunFolder::create(folder / "run");
  CHECK_FALSE(TrainingRun(trainer, run).run());  // though it was the last step
  CHECK(trainer.state().step == 4);
  CHECK(steps_of(lines_of(run)) == std::vector<std::int64_t>{2});
  CHECK(TrainingRun(trainer, RunFolder::open(run.path())).run());
  CHECK_FALSE(trainer.stops_early());
  const auto lines = lines_of(run);
  CHECK(steps_of(lines) == std::vector<std::int64_t>{2, 4});
  CHECK(lines.at(4).contains("train/loss"));
  CHECK(lines.at(4).contains("valid/mse"));
  CHECK(lines.at(4).at("sample") == "text");
  CHECK(load_run_checkpoint(run.last_checkpoint()).state.unfinished_line.empty());
}

TEST_CASE("an update that leaves the finite numbers replaces no checkpoint") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.train.lr = 1e38;
  config.train.warmup = 0;
  std::string message;
  SUBCASE("when a checkpoint is due") {
    config.train.save_every = 1;
    message = "is not finite after step 1; the last good checkpoint is ";
  }
  SUBCASE("when a validation is due") {
    config.train.eval_every = 1;
    message = "the validation loss is not finite at step 1; first tensor that is not finite: parameter ";
  }
  SUBCASE("at the last step") {
    config.train.steps = 1;
    message = "the validation loss is not finite at step 1";
  }
  Trainer trainer(config, kCpu);
  const RunFolder run = RunFolder::create(folder / "run");
  TrainingRun training(trainer, run);
  CHECK_THROWS_WITH_AS(training.run(), doctest::Contains(message.c_str()), Error);
  CHECK(load_run_checkpoint(run.last_checkpoint()).state.step == 0);
  CHECK_FALSE(std::filesystem::exists(run.best_checkpoint()));
}
