// Self-attention: what it sees, generation from what it keeps, gradients, options, accounts.

#include "nn/attention.hpp"

#include "ops/layout.hpp"
#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

using testing::max_difference;
using testing::normal;

namespace {

struct Made {
  explicit Made(SelfAttentionOptions options, std::int64_t dim = 8, Site site = {})
      : store(1, DType::f64), attention(make(options, dim, site)) {}

  Tensor operator()(const Tensor& x) { return attention->forward(Variable(x), {}, ctx).y.value(); }

  ParameterStore store;
  std::unique_ptr<Attention> attention;
  ForwardContext ctx;

 private:
  std::unique_ptr<Attention> make(SelfAttentionOptions options, std::int64_t dim, Site site) {
    site.dim = dim;
    return self_attention(options)(Scope(store) / "a", site);
  }
};

// With H = 4 and C = 2 for D = 8.
const std::vector<SelfAttentionOptions>& forms() {
  static const std::vector<SelfAttentionOptions> all{{},
                                                     {.rotary = true},
                                                     {.key_heads = 2},
                                                     {.key_heads = 1, .bias = true, .rotary = true},
                                                     {.window = 3},
                                                     {.window = 1},
                                                     {.key_heads = 2, .window = 2, .rotary = true}};
  return all;
}

}  // namespace

TEST_CASE("changing position t changes the outputs from t on within the window, and no other") {
  for (const SelfAttentionOptions& options : forms()) {
    CAPTURE(options.key_heads);
    CAPTURE(options.window);
    Made made(options);
    const Tensor x = normal({1, 6, 8}, "x");
    const Tensor y = made(x);
    for (std::int64_t t = 0; t < 6; ++t) {
      const Tensor changed = x.clone();
      changed.data<double>()[t * 8] += 1.0;
      const Tensor z = made(changed);
      for (std::int64_t row = 0; row < 6; ++row) {
        const Tensor before = y.view({6, 8}).slice0(row, row + 1),
                     after = z.view({6, 8}).slice0(row, row + 1);
        const bool seen = row >= t && (options.window == 0 || row - t < options.window);
        CHECK((max_difference(before, after) > 0.0) == seen);
      }
    }
  }
}

TEST_CASE("one position attends to itself alone: the output map of its value") {
  Made made({.heads = 2, .bias = true}, 4);
  const Variable x(normal({3, 1, 4}, "x"));
  const auto map = [&](const std::string& name) {
    return Linear(made.store.find(name + ".weight")->variable, made.store.find(name + ".bias")->variable);
  };
  const Variable value = ops::slice(map("a.qkv")(x, made.ctx), 2, 8, 12);
  CHECK(max_difference(made(x.value()), map("a.out")(value, made.ctx).value()) < 1e-14);
}

TEST_CASE("grouped queries are full attention whose key and value maps repeat") {
  for (const bool rotary : {false, true}) {
    Made grouped({.heads = 4, .key_heads = 2, .rotary = rotary});
    Made full({.heads = 4, .rotary = rotary});
    // Rows of the packed map: 4 heads of queries, then 2 of keys and 2 of values, C = 2 rows each.
    const Tensor from = grouped.store.find("a.qkv.weight")->variable.value();
    const Tensor to = full.store.find("a.qkv.weight")->variable.value();
    REQUIRE(from.shape() == Shape{16, 8});
    for (std::int64_t head = 0; head < 12; ++head) {
      const std::int64_t source = head < 4 ? head : head < 8 ? 4 + (head - 4) / 2 : 6 + (head - 8) / 2;
      std::copy_n(from.data<double>() + source * 16, 16, to.data<double>() + head * 16);
    }
    const Tensor out = grouped.store.find("a.out.weight")->variable.value();
    std::copy_n(out.data<double>(), 64, full.store.find("a.out.weight")->variable.value().data<double>());
    const Tensor x = normal({2, 5, 8}, "x");
    CHECK(max_difference(grouped(x), full(x)) < 1e-14);
  }
}

TEST_CASE("steps through what is kept equal the whole sequence, and a step can be taken again") {
  for (const SelfAttentionOptions& options : forms()) {
    CAPTURE(options.key_heads);
    CAPTURE(options.window);
    Made made(options);
    const Variable x(normal({2, 7, 8}, "x"));
    const Tensor whole = made(x.value());
    Past past{0, made.attention->begin(2, 9)};
    for (const std::int64_t count : {3, 1, 2, 1}) {
      const Variable part = ops::slice(x, 1, past.position, past.position + count);
      const Attended first = made.attention->forward(part, past, made.ctx),
                     again = made.attention->forward(part, past, made.ctx);
      const Variable expected = ops::slice(Variable(whole), 1, past.position, past.position + count);
      CHECK(max_difference(first.y.value(), expected.value()) < 1e-12);
      CHECK(testing::same_bits(first.y.value(), again.y.value()));
      past = {past.position + count, again.kept};
    }
  }
}

TEST_CASE("what is kept in bf16 compute was rounded where a whole sequence is rounded") {
  ParameterStore store(1);
  const auto attention = self_attention({.rotary = true})(Scope(store), {.dim = 8});
  ForwardContext ctx;
  ctx.compute_dtype = DType::bf16;
  const Past past{0, attention->begin(1, 5)};
  attention->forward(Variable(normal({1, 5, 8}, "x", DType::f32)), past, ctx);
  CHECK(past.kept.dtype() == DType::f32);
  CHECK(max_difference(past.kept, Tensor::zeros_like(past.kept)) > 0.0);
  CHECK(testing::same_bits(past.kept, past.kept.to(DType::bf16).to(DType::f32)));
}

TEST_CASE("gradients arrive in every parameter of attention, whatever its form") {
  for (const SelfAttentionOptions& options : forms()) {
    if (options.window == 1) continue;  // softmax over one key: queries and keys do not matter
    Made made(options);
    Tape tape;
    const Variable x(normal({2, 5, 8}, "x"), true);
    tape.backward(made.attention->forward(x, {}, made.ctx).y, normal({2, 5, 8}, "dy"));
    CHECK(max_difference(x.grad(), Tensor::zeros_like(x.value())) > 0.0);
    for (const Parameter& parameter : made.store.parameters()) {
      const std::vector<double> gradient = parameter.variable.grad().to_vector<double>();
      const std::int64_t rows = parameter.variable.shape()[0];
      const std::size_t n = gradient.size() / static_cast<std::size_t>(rows);
      for (std::int64_t row = 0; row < rows; ++row) {
        CAPTURE(parameter.variable.name());
        CAPTURE(row);
        double sum = 0.0;
        for (std::size_t i = 0; i < n; ++i) sum += std::abs(gradient[static_cast<std::size_t>(row) * n + i]);
        CHECK(sum > 0.0);
      }
    }
  }
}

TEST_CASE("attention options that do not fit are refused") {
  const auto refused = [](SelfAttentionOptions options, std::int64_t dim, const char* message) {
    ParameterStore store(1);
    CHECK_THROWS_WITH_AS(self_attention(options)(Scope(store), {.dim = dim}), doctest::Contains(message),
                         UserError);
    CHECK(store.parameters().empty());
  };
  refused({.heads = 4}, 10, "model.heads = 4 does not divide model.dim = 10");
  refused({.heads = 2, .rotary = true}, 6,
          "model.positions = rotary needs an even head size, but model.dim / model.heads = 3");
  refused({.heads = 4, .key_heads = 3}, 8, "model.key_heads = 3 does not divide model.heads = 4");
  refused({.heads = 4, .window = -1}, 8, "model.window: expected a whole number >= 0, got -1");
}

TEST_CASE("the account of attention counts both maps and the scores that are computed") {
  CHECK(Made({.heads = 2}).attention->account(5).parameters == 4 * 64);
  CHECK(Made({.heads = 2}).attention->account(5).flops_per_token ==
        2.0 * 4 * 64 + 4.0 * 8 * (1 + 2 + 3 + 4 + 5) / 5.0);
  CHECK(Made({.heads = 4, .key_heads = 1, .window = 2}).attention->account(5).parameters == 64 + 2 * 16 + 64);
  CHECK(Made({.heads = 4, .key_heads = 1, .window = 2}).attention->account(5).flops_per_token ==
        2.0 * (64 + 2 * 16 + 64) + 4.0 * 8 * (1 + 2 + 2 + 2 + 2) / 5.0);
  CHECK(Made({.window = 9}).attention->account(5).flops_per_token ==
        Made({}).attention->account(5).flops_per_token);
}

}  // namespace simsmoe::nn
