// A tiny decoder learns one sentence by heart, in f32 and with bf16 maps, and repeats itself bit for bit.

#include <string_view>

#include "nn/optimizer.hpp"
#include "nn/schedule.hpp"
#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

namespace {

constexpr std::string_view kSentence = "the quick brown fox jumps over the lazy dog; ";
constexpr std::int64_t kLength = 16, kBatch = 8, kSteps = 150;

struct Batch {
  Tensor tokens, targets;  // i32 [B, T]
};

Batch batch_at(std::int64_t step) {
  std::vector<std::int32_t> x, y;
  for (std::int64_t b = 0; b < kBatch; ++b) {
    for (std::int64_t t = 0; t < kLength; ++t) {
      const auto at = static_cast<std::size_t>(step * 13 + b * 29 + t);
      x.push_back(kSentence[at % kSentence.size()]);
      y.push_back(kSentence[(at + 1) % kSentence.size()]);
    }
  }
  return {Tensor::from(x, {kBatch, kLength}), Tensor::from(y, {kBatch, kLength})};
}

// The loss of the last step, after `steps` of them.
double train(DType compute_dtype, std::int64_t steps) {
  DecoderOptions options;
  options.vocab = 128;
  options.dim = 32;
  options.attention.heads = 2;
  options.layers = 2;
  options.pattern = "sf";
  options.max_length = kLength;
  options.dense.hidden = 64;
  options.dense.bias = true;
  options.dropout = 0.01;
  ParameterStore store(1);
  Decoder decoder(Scope(store) / "decoder", options, {});
  const auto optimizer = make_optimizer(store, {.beta2 = 0.999});
  const Schedule schedule({.steps = kSteps, .lr = 1e-2, .warmup = 10});
  double loss = 0.0;
  for (std::int64_t step = 0; step < steps; ++step) {
    const Batch batch = batch_at(step);
    ForwardContext ctx;
    ctx.training = true;
    ctx.step = ctx.draw = static_cast<std::uint64_t>(step);
    ctx.compute_dtype = compute_dtype;
    Tape tape;
    const Variable task = decoder.loss(batch.tokens, batch.targets, ctx);
    tape.backward(task);
    optimizer->step(store, schedule(step), clip_scale(global_gradient_norm(store), 1.0));
    store.clear_grads();
    loss = task.value().item();
  }
  return loss;
}

}  // namespace

TEST_CASE("a decoder learns a sentence by heart") {
  CHECK(train(DType::f32, 1) > 4.0);  // log(128) = 4.85 nats at the start
  // The first characters of a window leave a choice (o, e and blanks repeat); the rest is certain.
  CHECK(train(DType::f32, kSteps) < 0.25);
}

TEST_CASE("bf16 maps learn it too") { CHECK(train(DType::bf16, kSteps) < 0.35); }

TEST_CASE("training twice gives the same bits") { CHECK(train(DType::f32, 20) == train(DType::f32, 20)); }

}  // namespace simsmoe::nn
