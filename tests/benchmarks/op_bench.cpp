#include <functional>
#include <string>
#include <vector>

#include "ops/ops.hpp"
#include "tests/benchmarks/bench.hpp"

// Ops at the shapes of a training step, forward and backward through the tape: batch 8, sequence 256, width
// 256, 4 heads, 16 experts of inner size 512 with two per token.

namespace simsmoe::benchmarks {

namespace {

using Op = std::function<Variable(const Variables&)>;
using Report = std::function<void(benchmark::State&)>;

void forward(benchmark::State& state, const Op& op, const Variables& x, const Report& report) {
  for ([[maybe_unused]] const auto _ : state) benchmark::DoNotOptimize(op(x).value().raw_data());
  report(state);
}

// Forward and backward; gradients are released as after an optimizer's step.
void both(benchmark::State& state, const Op& op, const Variables& x, const Report& report) {
  const Tensor dy = random(op(x).shape(), x[0].dtype());
  for ([[maybe_unused]] const auto _ : state) {
    Tape tape;
    tape.backward(op(x), dy);
    for (const Variable& v : x) v.clear_grad();
  }
  report(state);
}

void add(const std::string& name, const Op& op, const std::vector<Tensor>& inputs, const Report& of_forward,
         const Report& of_both) {
  Variables x;
  for (const Tensor& input : inputs) x.emplace_back(input, true);
  benchmark::RegisterBenchmark(("op/" + name + "/forward").c_str(),
                               [=](benchmark::State& s) { forward(s, op, x, of_forward); });
  benchmark::RegisterBenchmark(("op/" + name + "/both").c_str(),
                               [=](benchmark::State& s) { both(s, op, x, of_both); });
}

// Products: the backward pass of one takes `ratio` times the work of the forward pass.
void add_products(const std::string& name, const Op& op, const std::vector<Tensor>& inputs, double flops,
                  double ratio) {
  add(
      name, op, inputs, [=](benchmark::State& s) { report_flops(s, flops); },
      [=](benchmark::State& s) { report_flops(s, flops * (1.0 + ratio)); });
}

// The rest is bound by memory: x and y forward, then dy, one saved tensor and dx.
void add_elements(const std::string& name, const Op& op, const std::vector<Tensor>& inputs) {
  const double bytes = static_cast<double>(inputs[0].bytes());
  add(
      name, op, inputs, [=](benchmark::State& s) { report_bytes(s, 2.0 * bytes); },
      [=](benchmark::State& s) { report_bytes(s, 5.0 * bytes); });
}

// A form of attention: H query heads and G key heads on tensors of their own, and further inputs.
struct Form {
  std::string name;
  std::int64_t B, T, S, H, G, C;
  std::vector<Tensor> more = {};
  std::function<ops::AttentionOptions(const Variables&)> options = [](const Variables&) {
    return ops::AttentionOptions{};
  };
};

// What no form can avoid, over the `pairs` of a query and a key that it sees: two products forward and five
// backward, with a term by distance three and eight.
void add_form(const Form& f, std::int64_t pairs) {
  const double product = 2.0 * static_cast<double>(f.B * f.H * f.C * pairs);
  const bool relative = !f.more.empty();
  std::vector<Tensor> inputs = {random({f.B, f.T, f.H, f.C}), random({f.B, f.S, f.G, f.C}),
                                random({f.B, f.S, f.G, f.C})};
  inputs.insert(inputs.end(), f.more.begin(), f.more.end());
  add_products(
      f.name, [f](const Variables& x) { return ops::attention({x[0]}, {x[1]}, {x[2]}, f.options(x)); },
      inputs, product * (relative ? 3.0 : 2.0), relative ? 8.0 / 3.0 : 2.5);
}

void add_forms() {
  constexpr std::int64_t B = 8, T = 256, H = 4, C = 64, triangle = T * (T + 1) / 2;
  add_form({"attention_groups_4_of_1", B, T, T, H, 1, C}, triangle);
  add_form({.name = "attention_window_256_of_2048",
            .B = 1,
            .T = 2048,
            .S = 2048,
            .H = H,
            .G = H,
            .C = C,
            .options = [](const Variables&) { return ops::AttentionOptions{.window = 256}; }},
           256 * (2048 - 256) + triangle);
  add_form({.name = "attention_not_causal",
            .B = B,
            .T = T,
            .S = T,
            .H = H,
            .G = H,
            .C = C,
            .options = [](const Variables&) { return ops::AttentionOptions{.causal = false}; }},
           T * T);
  add_form({.name = "attention_transformer_xl",
            .B = B,
            .T = T,
            .S = 2 * T,
            .H = H,
            .G = H,
            .C = C,
            .more = {random({2 * T, H, C}), random({H, C}), random({H, C})},
            .options =
                [](const Variables& x) {
                  return ops::AttentionOptions{.relative = x[3], .query_bias = x[4], .relative_bias = x[5]};
                }},
           T * T + triangle);
  add_form({.name = "attention_span_256",
            .B = B,
            .T = T,
            .S = 2 * T,
            .H = H,
            .G = H,
            .C = C,
            .more = {random({T, C})},
            .options =
                [](const Variables& x) {
                  return ops::AttentionOptions{
                      .current = false, .window = T, .relative = x[3], .first_distance = 1};
                }},
           T * T);
}

// One new position after 1023, for each of B sequences.
void add_cached(const std::string& name, std::int64_t B, std::int64_t H, std::int64_t G, std::int64_t C) {
  constexpr std::int64_t kFilled = 1023;
  const Variable x(random({B, 1, H + 2 * G, C}));
  const Tensor cache = random({2, B, kFilled + 1, G, C});
  benchmark::RegisterBenchmark(("op/" + name + "/forward").c_str(), [=](benchmark::State& state) {
    for ([[maybe_unused]] const auto _ : state)
      benchmark::DoNotOptimize(
          ops::cached_attention({x, 0, H}, {x, H, G}, {x, H + G, G}, cache, kFilled).raw_data());
    report_bytes(state, static_cast<double>(cache.bytes()));
  });
}

// Today's decoder: a packed projection.
void add_attention(const std::string& name, std::int64_t B, std::int64_t T, std::int64_t H, std::int64_t C,
                   DType dtype) {
  const double flops = 2.0 * 2.0 * static_cast<double>(B * H * C * T * (T + 1) / 2);
  add_products(
      name, [](const Variables& x) { return ops::causal_attention(x[0]); }, {random({B, T, 3, H, C}, dtype)},
      flops, 2.5);
}

}  // namespace

void register_ops() {
  add_attention("attention_8x256x4x64", 8, 256, 4, 64, DType::f32);
  add_attention("attention_16x128x4x32", 16, 128, 4, 32, DType::f32);
  add_attention("attention_1x2048x4x64", 1, 2048, 4, 64, DType::f32);
  add_attention("attention_8x256x4x64_bf16", 8, 256, 4, 64, DType::bf16);
  add_attention("attention_8x128x4x32", 8, 128, 4, 32, DType::f32);  // the quickstart
  add_forms();
  add_cached("attention_cached_8x1024x4x64", 8, 4, 4, 64);
  add_cached("attention_cached_8x1024x4of1x64", 8, 4, 1, 64);

  constexpr std::int64_t kTokens = 2048, kWidth = 256, kExperts = 16, kInner = 512;
  add_products(
      "linear_qkv", [](const Variables& x) { return ops::linear(x[0], x[1], x[2]); },
      {random({kTokens, kWidth}), random({3 * kWidth, kWidth}), random({3 * kWidth})},
      2.0 * kTokens * kWidth * 3 * kWidth, 2.0);
  std::vector<std::int64_t> bounds = {0};
  for (int e = 0; e < kExperts; ++e) bounds.push_back(bounds.back() + (e % 2 == 0 ? 192 : 320));
  const Tensor offsets = Tensor::from(bounds, {kExperts + 1});
  add_products(
      "experts_up", [offsets](const Variables& x) { return ops::grouped_matmul(x[0], x[1], offsets); },
      {random({2 * kTokens, kWidth}), random({kExperts, kInner, kWidth})},
      2.0 * 2 * kTokens * kWidth * kInner, 2.0);

  const Tensor hidden = random({2 * kTokens, kInner});
  add_elements("gelu", [](const Variables& x) { return ops::gelu(x[0]); }, {hidden});
  add_elements("softmax", [](const Variables& x) { return ops::softmax(x[0]); }, {hidden});
  add_elements("layer_norm", [](const Variables& x) { return ops::layer_norm(x[0], x[1], x[2]); },
               {hidden, random({kInner}), random({kInner})});
}

}  // namespace simsmoe::benchmarks
