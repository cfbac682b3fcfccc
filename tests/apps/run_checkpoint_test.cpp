// What a run needs to go on, and what its checkpoint is refused for.

#include "apps/run_checkpoint.hpp"

#include <doctest/doctest.h>

#include "engine/parallel_for.hpp"
#include "nn/init.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

struct Store {
  Store() { nn::Scope(store).parameter("w", {2}, nn::init::ones()); }
  nn::ParameterStore store{1};
};

}  // namespace

TEST_CASE("a checkpoint knows its path, threads, step, best score, configuration and what the task keeps") {
  const TemporaryFolder folder;
  Config config = tiny_config("text");
  config.train.batch = 3;
  const int before = num_threads();
  set_num_threads(3);
  save_run_checkpoint(folder / "checkpoint", config, {{"unit", "metre"}}, {.step = 7, .best_score = 0.25},
                      Store().store, nullptr);
  set_num_threads(before);
  const RunCheckpoint checkpoint = load_run_checkpoint(folder / "checkpoint");
  CHECK(checkpoint.path == folder / "checkpoint");
  CHECK(checkpoint.threads == 3);
  CHECK(checkpoint.state.step == 7);
  CHECK(checkpoint.state.best_score == 0.25);
  CHECK(checkpoint.config.train.batch == 3);
  CHECK(checkpoint.metadata_at("unit") == "metre");
  CHECK(checkpoint.metadata_at("seed") == "1");
  CHECK(checkpoint.model.size() == 1);
  CHECK_THROWS_WITH_AS(
      checkpoint.metadata_at("vocabulary"),
      fmt::format("{} is not the checkpoint of a run: it has no 'vocabulary'", folder / "checkpoint").c_str(),
      UserError);
}

TEST_CASE("a checkpoint whose configuration cannot be is refused before a model is made of it") {
  const TemporaryFolder folder;
  Config config = tiny_config("text");
  config.model.attention.heads = 3;  // of 16 dimensions
  save_run_checkpoint(folder / "checkpoint", config, {}, {}, Store().store, nullptr);
  CHECK_THROWS_WITH_AS(load_run_checkpoint(folder / "checkpoint"), doctest::Contains("model.heads"),
                       UserError);
}

TEST_CASE("a best score is read under its former name as well") {
  const TemporaryFolder folder;
  save_run_checkpoint(folder / "checkpoint", tiny_config("text"), {{"best_valid_bpc", "1.5"}}, {},
                      Store().store, nullptr);
  CHECK(load_run_checkpoint(folder / "checkpoint").state.best_score == 1.5);
  save_run_checkpoint(folder / "checkpoint", tiny_config("text"), {{"best_valid_bpc", "low"}}, {},
                      Store().store, nullptr);
  CHECK_THROWS_WITH_AS(load_run_checkpoint(folder / "checkpoint"),
                       doctest::Contains("has an unreadable 'best_valid_bpc': low"), UserError);
}

TEST_CASE("a line that was put off is an object") {
  const TemporaryFolder folder;
  const auto save = [&](const std::string& line) {
    save_run_checkpoint(folder / "checkpoint", tiny_config("text"), {}, {.step = 7, .unfinished_line = line},
                        Store().store, nullptr);
  };
  save("{\"step\":7}");
  CHECK(load_run_checkpoint(folder / "checkpoint").state.unfinished_line == "{\"step\":7}");
  for (const char* damaged : {"{\"step\":", "7"}) {
    save(damaged);
    CHECK_THROWS_WITH_AS(load_run_checkpoint(folder / "checkpoint"),
                         doctest::Contains("has an unreadable 'unfinished_line': "), UserError);
  }
}
