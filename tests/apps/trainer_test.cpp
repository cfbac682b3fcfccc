// Training steps: reproducible, resumable, stopped by the first number that is not finite.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "apps/config_io.hpp"
#include "apps/language_modelling.hpp"
#include "apps/trainer.hpp"
#include "engine/file.hpp"
#include "ops/binary.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw_data(), b.raw_data(), a.bytes()) == 0;
}

double total(const StepReport& report) { return report.metrics.read().at("train/loss"); }

std::vector<double> losses(Trainer& trainer, int steps) {
  std::vector<double> values;
  for (int i = 0; i < steps; ++i) values.push_back(total(trainer.step(false)));
  return values;
}

// Everything that two trainings have: parameters and optimizer state, by way of their checkpoints.
void check_same_state(Trainer& a, Trainer& b, const TemporaryFolder& folder) {
  a.save(folder / "a", true);
  b.save(folder / "b", true);
  const TensorFile x = read_safetensors(folder / "a"), y = read_safetensors(folder / "b");
  REQUIRE(x.tensors.size() == y.tensors.size());
  CHECK(x.tensors.size() > 60);
  for (const NamedTensor& entry : x.tensors)
    CHECK_MESSAGE(same_bits(entry.tensor, y.at(entry.name)), entry.name);
}

}  // namespace

TEST_CASE("40 steps are 20 steps, a checkpoint and 20 steps, bit for bit") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.train.accumulate = 2;
  Trainer straight(config, kCpu), first(config, kCpu);
  const std::vector<double> all = losses(straight, 40);
  std::vector<double> parts = losses(first, 20);
  CHECK(std::equal(parts.begin(), parts.end(), all.begin()));
  first.save(folder / "checkpoint", true);
  Trainer second(load_run_checkpoint(folder / "checkpoint"), kCpu);
  CHECK(second.state().step == 20);
  const std::vector<double> rest = losses(second, 20);
  parts.insert(parts.end(), rest.begin(), rest.end());
  CHECK(parts == all);
  CHECK(second.finished());
  check_same_state(straight, second, folder);
  CHECK(straight.validate().score == second.validate().score);
  CHECK(straight.task().sample() == second.task().sample());
  CHECK(all.back() < 0.8 * all.front());
}

TEST_CASE("every parameter of the quickstart's model receives a finite gradient that is not zero") {
  const TemporaryFolder folder;
  Config config;
  read_config_file(config, SIMSMOE_CONFIGS "/quickstart.toml");
  config.data.path = folder.file("text", small_text());
  config.moe.similarity.frequency = 0.0;  // compare every pair that meets
  config.moe.similarity.threshold = -1.0;
  const Dataset data(config.data);
  const Model model(config, data.tokenizer->vocab_size(), kCpu);
  const TrainingBatches batches(data.train, config.train.batch, config.train.seq, 1);
  const Batch batch = batches.at(0);
  Tape tape;
  nn::ForwardContext ctx;
  ctx.training = true;
  const Variable task = model.decoder->loss(batch.tokens, batch.targets, ctx);
  Variable similarity;  // the other losses stay out: the task alone must reach the router
  for (const nn::LossTerm& term : ctx.losses.terms())
    if (term.name == "similarity")
      similarity = similarity.defined() ? ops::add(similarity, term.value) : term.value;
  tape.backward(ops::add(task, similarity));
  for (const nn::Parameter& parameter : model.store.parameters()) {
    CAPTURE(parameter.variable.name());
    REQUIRE(parameter.variable.grad().defined());
    CHECK(all_finite(parameter.variable.grad()));
    if (parameter.variable.name().ends_with("similarity.projection.bias"))
      continue;  // CKA does not see a shift
    double largest = 0.0;
    for (const double g : parameter.variable.grad().to_vector<double>())
      largest = std::max(largest, std::abs(g));
    CHECK(largest > 0.0);
  }
}

TEST_CASE("accumulated micro-batches are one bigger batch, up to rounding") {
  const TemporaryFolder folder;
  Config big = tiny_config(folder.file("text", small_text()));
  big.model.dropout = 0.0;       // masks are drawn per micro-batch
  big.moe.balance_weight = 0.0;  // a product of means is not the mean of products
  big.train.batch = 8;
  Config small = big;
  small.train.batch = 2;
  small.train.accumulate = 4;
  Trainer whole(big, kCpu), parts(small, kCpu);
  for (int i = 0; i < 3; ++i) {
    const StepReport a = whole.step(false), b = parts.step(false);
    CHECK(a.tokens == b.tokens);
    CHECK(total(a) == doctest::Approx(total(b)).epsilon(1e-5));
    CHECK(a.metrics.read().at("grad_norm") ==
          doctest::Approx(b.metrics.read().at("grad_norm")).epsilon(1e-4));
  }
}

TEST_CASE("a report names every loss, and they add up") {
  const TemporaryFolder folder;
  Trainer trainer(tiny_config(folder.file("text", small_text())), kCpu);
  const StepReport report = trainer.step(true);
  CHECK(report.auxiliary == std::vector<std::string>{"balance", "z"});
  const auto values = report.metrics.read();
  CHECK(values.at("train/balance") > 0.0);
  CHECK(values.at("train/loss") ==
        doctest::Approx(values.at("train/task") + values.at("train/balance") + values.at("train/z")));
  CHECK(values.at("train/task") == doctest::Approx(std::log(256.0)).epsilon(0.2));
  CHECK(values.at("train/bpb") ==
        doctest::Approx(values.at("train/task") / std::log(2.0)));  // a token is a byte
  CHECK(values.at("grad_norm") > 0.0);
  CHECK(values.contains("layers.1.feed_forward/load_max"));
  CHECK(report.lr / (3e-3 / 4) == doctest::Approx(1.0));
  CHECK(!trainer.step(false).metrics.read().contains("layers.1.feed_forward/load_max"));
}

TEST_CASE("the layers' parts of a loss add up to it, also over micro-batches") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.train.accumulate = 3;
  config.moe.similarity.enabled = true;
  config.moe.similarity.frequency = 0.3;  // some micro-batches have a pair that is due, others none
  config.moe.similarity.threshold = -1.0;
  Trainer trainer(config, kCpu);
  for (int step = 0; step < 4; ++step) {
    const StepReport report = trainer.step(true);
    REQUIRE(report.auxiliary.size() == 3);
    const auto values = report.metrics.read();
    for (const std::string& name : report.auxiliary) {
      CAPTURE(name);
      double parts = 0.0;
      for (const auto& [key, part] : values)
        if (key.ends_with("/loss/" + name)) parts += part;
      CHECK(parts == doctest::Approx(values.at("train/" + name)).epsilon(1e-5));
    }
  }
}

TEST_CASE("the rate falls at the milestones of multi_step") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.train.warmup = 0;
  config.train.schedule = nn::Decay::multi_step;
  config.train.milestones = {1, 2};
  config.train.gamma = 0.5;
  Trainer trainer(config, kCpu);
  for (const double factor : {1.0, 0.5, 0.25})
    CHECK(trainer.step(false).lr / config.train.lr == doctest::Approx(factor));
}

TEST_CASE("the first tensor that is not finite is named, before anything is changed") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  Trainer trainer(config, kCpu);
  trainer.step(false);
  const nn::Parameter* parameter = trainer.task().store().find("layers.1.attention.qkv.weight");
  REQUIRE(parameter != nullptr);
  const float before = parameter->variable.value().host<float>()[5];

  parameter->variable.value().host<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(trainer.step(false),
                       doctest::Contains("the loss is not finite at step 2; first tensor that is not finite: "
                                         "parameter layers.1.attention.qkv.weight"),
                       Error);
  // Finite itself, but its products overflow.
  parameter->variable.value().host<float>()[5] = 3e38f;
  CHECK_THROWS_WITH_AS(trainer.step(false),
                       doctest::Contains("which reads parameter layers.1.attention.qkv.weight"), Error);
  CHECK(trainer.state().step == 1);
  parameter->variable.value().host<float>()[5] = before;
  Trainer untouched(config, kCpu);
  untouched.step(false);
  CHECK(total(trainer.step(false)) == total(untouched.step(false)));
}

TEST_CASE("parameters that are not finite are not saved") {
  const TemporaryFolder folder;
  Trainer trainer(tiny_config(folder.file("text", small_text())), kCpu);
  const std::string path = folder.file("checkpoint", "as it was");
  const nn::Parameter* parameter = trainer.task().store().find("layers.1.attention.qkv.weight");
  REQUIRE(parameter != nullptr);
  parameter->variable.value().host<float>()[5] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH_AS(trainer.save(path, true),
                       "parameter layers.1.attention.qkv.weight is not finite after step 0", Error);
  CHECK(read_file(path) == "as it was");
}

TEST_CASE("a prompt that the vocabulary cannot express is refused before the first step") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));  // in small letters
  config.data.vocab = TokenKind::character;
  CHECK(Trainer(config, kCpu).task().sample().size() == 20);  // the default prompt, with a capital, gives way
  config.train.sample_prompt = "a dog";
  CHECK(Trainer(config, kCpu).task().sample().starts_with("a dog"));
  config.train.sample_prompt = "A dog";
  CHECK_THROWS_WITH_AS(Trainer(config, kCpu), doctest::Contains("train.sample_prompt: the character 'A'"),
                       UserError);
}

TEST_CASE("a checkpoint does not go on with another text") {
  const TemporaryFolder folder;
  const Config config = tiny_config(folder.file("text", small_text()));
  Trainer(config, kCpu).save(folder / "checkpoint", true);
  RunCheckpoint checkpoint = load_run_checkpoint(folder / "checkpoint");
  checkpoint.config.data.path = folder.file("other", small_text() + "more");
  CHECK_THROWS_WITH_AS(Trainer(std::move(checkpoint), kCpu), doctest::Contains("is not the text"), UserError);
}

TEST_CASE("dense models, characters, rotary positions and bf16 train as well") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  SUBCASE("dense") { config.model.pattern = "sf"; }
  SUBCASE("characters") { config.data.vocab = TokenKind::character; }
  SUBCASE("rotary, rms, post, tied") {
    config.model.positions = nn::Positions::rotary;
    config.model.norm = nn::NormKind::rms_norm;
    config.model.place = nn::NormPlace::post;
    config.model.tie_embeddings = true;
  }
  SUBCASE("bf16") { config.train.dtype = Precision::bf16; }
  SUBCASE("sgd") {
    config.train.optimizer = nn::UpdateRule::sgd;
    config.train.lr = 0.1;
  }
  SUBCASE("one expert per token, limited capacity") {
    config.moe.k = 1;
    config.moe.capacity_factor = 1.0;
  }
  Trainer trainer(config, kCpu);
  const std::vector<double> values = losses(trainer, 40);
  CHECK(values.back() < values.front());
  CHECK(trainer.validate().score == trainer.validate().score);
}
