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

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

// A terminal whose other end can be read, as stderr while it lives.
class Terminal {
 public:
  Terminal() : mine_(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK)), before_(::dup(2)) {
    REQUIRE(mine_ >= 0);
    REQUIRE(::grantpt(mine_) == 0);
    REQUIRE(::unlockpt(mine_) == 0);
    const int theirs = ::open(::ptsname(mine_), O_RDWR | O_NOCTTY);
    REQUIRE(theirs >= 0);
    std::fflush(stderr);
    ::dup2(theirs, 2);
    ::close(theirs);
  }
  ~Terminal() {
    ::dup2(before_, 2);
    ::close(before_);
    ::close(mine_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // What was written so far; less than what a terminal keeps, or the writer waits.
  std::string text() const {
    std::fflush(stderr);
    std::string all(4096, 0);
    const auto size = ::read(mine_, all.data(), all.size());
    return all.substr(0, size > 0 ? static_cast<std::size_t>(size) : 0);
  }

 private:
  int mine_, before_;
};

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

TEST_CASE("on a terminal a bar shows the step and the last loss, and only rarer lines stay") {
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
        fmt::format("[{}] {}/4  loss {:.4f}  ",
                    logged == 2 ? "############............" : std::string(24, '#'), logged, loss);
    CHECK_MESSAGE(shown.find(bar) != std::string::npos, shown);
  }
  CHECK(shown.find(fmt::format("3/4  loss {:.4f}  ", lines.at(2).at("train/loss").get<double>())) !=
        std::string::npos);
  CHECK(shown.find("step 3  eight points, the best so far") != std::string::npos);
  CHECK(shown.find("ridge") == std::string::npos);
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

TEST_CASE("an interrupted step is validated and sampled as any other") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.train.eval_every = 1;
  config.train.sample_every = 1;
  Trainer trainer(config, kCpu);
  const RunFolder run = RunFolder::create(folder / "run");
  TrainingRun training(trainer, run);
  {
    const InterruptRequests interrupts;
    ::raise(SIGINT);
    CHECK_FALSE(training.run());
  }
  CHECK_FALSE(InterruptRequests::pending());  // the next run is not interrupted by it
  CHECK(trainer.state().step == 1);
  CHECK(load_run_checkpoint(run.last_checkpoint()).state.step == 1);
  const std::string metrics = read_file(run.metrics());
  CHECK(metrics.find("\"valid/bpb\":") != std::string::npos);
  CHECK(metrics.find("\"sample\":") != std::string::npos);
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
