// Activation checkpointing under every router: the same bits, and less memory.
#include "nn/recompute.hpp"

#include <doctest/doctest.h>

#include "engine/caching_allocator.hpp"
#include "nn/decoder.hpp"
#include "nn/optimizer.hpp"
#include "ops/binary.hpp"
#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

struct Numbers {
  std::vector<std::vector<double>> all;
  std::map<std::string, double> metrics;
  bool operator==(const Numbers&) const = default;
};

nn::DecoderOptions small_decoder() {
  nn::DecoderOptions model;
  model.vocab = 13;
  model.dim = 8;
  model.attention.heads = 2;
  model.layers = 2;
  model.max_length = 8;
  model.steps = 20;
  model.dropout = 0.2;
  return model;
}

MoeOptions with_similarity(const std::string& router, Variant variant) {
  MoeOptions options = small_options();
  options.router = router;
  options.variant = variant;
  options.k = router == "switch" ? 1 : 2;
  options.dropout = 0.1;
  options.balance_weight = 0.5;
  options.similarity.enabled = true;
  options.similarity.frequency = 0.7;  // some pairs in some passes
  options.similarity.threshold = -1.0;
  options.set("compete.rate", 0.5).set("compete.warmup", 0.0).set("remoe.lambda0", 0.1);
  return options;
}

// Three steps of two micro-batches: losses, metrics, and in the end all parameters and buffers.
Numbers train(const MoeOptions& options, bool recompute, DType compute_dtype = DType::f32) {
  nn::ParameterStore store(5);
  const nn::Decoder decoder(nn::Scope(store), small_decoder(), feed_forward_factory(options));
  const auto optimizer = nn::make_optimizer(store, {});
  Numbers numbers;
  for (std::uint64_t step = 0; step < 3; ++step) {
    store.clear_grads();
    nn::Observations observed;
    nn::Metrics metrics;
    for (std::uint64_t pass = 2 * step; pass < 2 * step + 2; ++pass) {
      std::vector<std::int32_t> ids(16);
      for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = static_cast<std::int32_t>(random_bits({1, 2}, pass, i) % 13);
      const Tensor tokens = Tensor::from(ids, {2, 8});
      nn::ForwardContext ctx = training_context();
      ctx.step = step;
      ctx.draw = pass;
      ctx.compute_dtype = compute_dtype;
      ctx.recompute = recompute;
      ctx.collect_metrics = true;
      ctx.observed = std::move(observed);
      Tape tape;
      const Variable task = decoder.loss(tokens, tokens, ctx);
      const Variable auxiliary = ctx.losses.total();
      tape.backward(auxiliary.defined() ? ops::add(task, auxiliary) : task);
      numbers.all.push_back(task.value().to_vector<double>());
      ctx.losses.report(ctx.metrics, "train");
      metrics.merge(ctx.metrics);
      observed = std::move(ctx.observed);
    }
    for (const nn::Parameter& parameter : store.parameters())
      if (parameter.variable.grad().defined())
        numbers.all.push_back(parameter.variable.grad().to_vector<double>());
    observed.end_step(step);
    optimizer->step(store, 0.01);
    numbers.metrics = metrics.read();
  }
  for (const nn::Parameter& parameter : store.parameters())
    numbers.all.push_back(parameter.variable.value().to_vector<double>());
  for (const NamedTensor& buffer : store.buffers()) numbers.all.push_back(buffer.tensor.to_vector<double>());
  return numbers;
}

std::size_t peak_of_a_step(bool recompute) {
  MoeOptions options = small_options();
  options.hidden = 64;
  nn::DecoderOptions model = small_decoder();
  model.layers = 6;
  model.dim = 32;
  model.max_length = 64;
  nn::ParameterStore store(5);
  const nn::Decoder decoder(nn::Scope(store), model, feed_forward_factory(options));
  const Tensor tokens = Tensor::full({4, 64}, 3, DType::i32);
  allocator(kCpu).reset_peak();
  const std::size_t before = allocator(kCpu).stats().in_use_bytes;
  nn::ForwardContext ctx = training_context();
  ctx.recompute = recompute;
  Tape tape;
  tape.backward(decoder.loss(tokens, tokens, ctx));
  return allocator(kCpu).stats().peak_bytes - before;
}

}  // namespace

TEST_CASE("recompute: every router with similarity learning trains to the same bits") {
  for (const std::string& router : router_names())
    for (const Variant variant : {Variant::paper, Variant::reference}) {
      CAPTURE(router);
      const MoeOptions options = with_similarity(router, variant);
      const Numbers kept = train(options, false);
      CHECK(kept == train(options, true));
      CHECK(kept.metrics.contains("train/similarity"));
      CHECK(kept.metrics.at("layers.1.feed_forward/similarity_checks") > 0.0);
    }
}

TEST_CASE("recompute: bf16 maps, and the first version of compete") {
  MoeOptions options = with_similarity("compete", Variant::paper);
  CHECK(train(options, false, DType::bf16) == train(options, true, DType::bf16));
  options.set("compete.version", 1);
  CHECK(train(options, false) == train(options, true));
}

TEST_CASE("recompute: a step needs less memory") {
  CHECK(static_cast<double>(peak_of_a_step(true)) < 0.5 * static_cast<double>(peak_of_a_step(false)));
}

}  // namespace simsmoe::moe
