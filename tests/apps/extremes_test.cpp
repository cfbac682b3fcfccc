// The ends of what a person may choose: each is accepted, and a training with it runs.

#include <doctest/doctest.h>

#include "apps/commands/command_line.hpp"
#include "apps/config_io.hpp"
#include "apps/data/batches.hpp"
#include "apps/training_run.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

// One sublayer of each kind, four experts, two steps; with these keys.
void train(const std::vector<Override>& overrides) {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.model.pattern = "sfg";
  config.model.layers = 1;
  config.model.dense.hidden = 16;
  config.train.steps = 2;
  config.train.sample_tokens = 2;
  config.train.eval_batches = 1;
  apply_overrides(config, overrides);
  config.validate();
  Trainer trainer(config, kCpu);
  CHECK(TrainingRun(trainer, RunFolder::create(folder / "run")).run());
  CHECK(trainer.state().step == config.train.steps);
}

}  // namespace

TEST_CASE("the smallest and the largest values of a key are no mistakes") {
  const std::vector<std::vector<Override>> all = {
      {{"model.dim", "1"}, {"model.heads", "1"}},
      {{"model.heads", "16"}},  // of width 1
      {{"model.heads", "4"}, {"model.key_heads", "1"}},
      {{"model.key_heads", "2"}},
      {{"model.window", "1"}},
      {{"model.window", "16"}},
      {{"model.window", "1000"}},  // more than a sequence has
      {{"model.layers", "1"}},
      {{"model.hidden", "1"}},
      {{"model.dropout", "0"}},
      {{"model.dropout", "0.99"}},
      {{"model.init_std", "0"}},
      {{"moe.experts", "1"}, {"moe.k", "1"}},
      {{"moe.k", "1"}},
      {{"moe.k", "4"}},  // all
      {{"moe.hidden", "1"}},
      {{"moe.dropout", "0"}},
      {{"moe.init_alike", "0"}},
      {{"moe.init_alike", "1"}},
      {{"moe.balance_weight", "0"}, {"moe.z_weight", "0"}},
      {{"moe.capacity_factor", "0"}},
      {{"moe.capacity_factor", "0.01"}},  // one token
      {{"moe.k_schedule", "linear"}, {"moe.k_min", "1"}, {"moe.k_max", "4"}},
      {{"similarity.enabled", "true"}, {"similarity.frequency", "0"}, {"similarity.threshold", "-1"}},
      {{"train.batch", "1"}},
      {{"train.seq", "1"}},
      {{"train.batch", "1"}, {"train.seq", "1"}, {"moe.k", "4"}},
      {{"train.steps", "1"}},
      {{"train.accumulate", "1"}},
      {{"train.clip", "0"}},
      {{"train.seed", "0"}},
      {{"train.seed", "9000000000000000"}},
      {{"train.warmup", "0"}},
      {{"train.min_lr_ratio", "0"}},
      {{"train.min_lr_ratio", "1"}},
      {{"train.beta1", "0"}, {"train.beta2", "0"}},
      {{"train.weight_decay", "0"}},
      {{"train.optimizer", "sgd"}, {"train.momentum", "0"}},
      {{"train.log_every", "1"}},
      {{"train.eval_every", "0"}, {"train.save_every", "0"}, {"train.sample_every", "0"}},
      {{"train.eval_batches", "0"}},
      {{"train.patience", "1"}, {"train.eval_every", "1"}},
      {{"train.keep", "1"}},
      {{"train.sample_tokens", "0"}},
      {{"train.sample_temperature", "0"}},
      {{"train.sample_prompt", ""}},
      {{"data.test_fraction", "0"}},
      {{"data.valid_fraction", "0.001"}},  // 4 tokens
      {{"data.valid_fraction", "0.9"}, {"data.test_fraction", "0.05"}},
  };
  for (const std::vector<Override>& keys : all) {
    std::string what;
    for (const Override& item : keys) what += item.key + "=" + item.value + " ";
    CAPTURE(what);
    CHECK_NOTHROW(train(keys));
  }
}

TEST_CASE("one step beyond the ends is a mistake") {
  for (const Override& beyond : std::vector<Override>{{"model.dim", "0"},
                                                      {"model.layers", "0"},
                                                      {"model.heads", "0"},
                                                      {"model.hidden", "0"},
                                                      {"model.dropout", "1"},
                                                      {"model.dropout", "-0.1"},
                                                      {"model.init_std", "-1"},
                                                      {"model.window", "-1"},
                                                      {"model.key_heads", "-1"},
                                                      {"moe.experts", "0"},
                                                      {"moe.k", "0"},
                                                      {"moe.k", "5"},
                                                      {"moe.hidden", "0"},
                                                      {"moe.init_alike", "1.1"},
                                                      {"moe.balance_weight", "-1"},
                                                      {"moe.z_weight", "-1"},
                                                      {"moe.capacity_factor", "-1"},
                                                      {"train.batch", "0"},
                                                      {"train.seq", "0"},
                                                      {"train.steps", "0"},
                                                      {"train.accumulate", "0"},
                                                      {"train.clip", "-1"},
                                                      {"train.seed", "-1"},
                                                      {"train.warmup", "-1"},
                                                      {"train.min_lr_ratio", "1.1"},
                                                      {"train.beta1", "1"},
                                                      {"train.beta2", "1"},
                                                      {"train.weight_decay", "-1"},
                                                      {"train.log_every", "0"},
                                                      {"train.eval_every", "-1"},
                                                      {"train.eval_batches", "-1"},
                                                      {"train.patience", "-1"},
                                                      {"train.save_every", "-1"},
                                                      {"train.keep", "-1"},
                                                      {"train.sample_every", "-1"},
                                                      {"train.sample_tokens", "-1"},
                                                      {"train.sample_temperature", "-1"},
                                                      {"train.lr", "0"},
                                                      {"data.valid_fraction", "0"},
                                                      {"data.valid_fraction", "1"},
                                                      {"data.test_fraction", "1"}}) {
    CAPTURE(beyond.key);
    CAPTURE(beyond.value);
    Config config = tiny_config("text");
    const auto chosen = [&] {
      apply_overrides(config, {beyond});
      config.validate();
    };
    CHECK_THROWS_WITH_AS(chosen(), doctest::Contains(beyond.key.c_str()), UserError);
  }
}

TEST_CASE("as many experts per token as the model has are no mistake, nor is its own number") {
  Config config = tiny_config("text");
  CHECK_NOTHROW(check_experts_per_token(config, 4));
  CHECK_THROWS_WITH_AS(check_experts_per_token(config, 5), doctest::Contains("--k 5 is more than the 4"),
                       UserError);
  config.moe.router = "switch";
  config.moe.k = 1;
  CHECK_NOTHROW(check_experts_per_token(config, 0));
  CHECK_NOTHROW(check_experts_per_token(config, 1));
  CHECK_THROWS_WITH_AS(check_experts_per_token(config, 2), doctest::Contains("has a fixed number of experts"),
                       UserError);
}

TEST_CASE("two tokens are a text to train on and to evaluate, and one is none") {
  const auto bytes = make_tokenizer(TokenKind::byte, "");
  const TokenSequence two(*bytes, "ab"), one(*bytes, "a");
  const Batch trained = TrainingBatches(two, 1, 1, 7).at(5);
  CHECK(trained.tokens.to_vector<std::int32_t>() == std::vector<std::int32_t>{'a'});
  CHECK(trained.targets.to_vector<std::int32_t>() == std::vector<std::int32_t>{'b'});
  const EvaluationBatches evaluation(two, 1, 1);
  CHECK(evaluation.size() == 1);
  CHECK(evaluation.at(0).counted == 1);
  CHECK(EvaluationBatches(two, 3, 8).at(0).counted == 1);
  CHECK_THROWS_AS(TrainingBatches(one, 1, 1, 7), UserError);
  CHECK_THROWS_AS(EvaluationBatches(one, 1, 1), UserError);
}
