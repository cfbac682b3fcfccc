// A training in its folder: what it leaves behind when it is interrupted or when its numbers run away.

#include <doctest/doctest.h>
#include <signal.h>

#include "apps/interrupt.hpp"
#include "apps/training_run.hpp"
#include "engine/file.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

TEST_CASE("an interrupted step is validated and sampled as any other") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.train.eval_every = 1;
  config.train.sample_every = 1;
  Trainer trainer(config, kCpu);
  const RunFolder run = RunFolder::create(folder / "run");
  TrainingRun training(trainer, run);
  const InterruptRequests interrupts;
  ::raise(SIGINT);
  CHECK_FALSE(training.run());
  CHECK(trainer.state().step == 1);
  CHECK(load_run_checkpoint(run.last_checkpoint()).state.step == 1);
  const std::string metrics = read_file(run.metrics());
  CHECK(metrics.find("\"valid/bpc\":") != std::string::npos);
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
