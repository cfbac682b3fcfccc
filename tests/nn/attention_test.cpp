// Causality of self-attention and equality of cached generation.

#include "nn/self_attention.hpp"

#include "ops/layout.hpp"
#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

using testing::max_difference;
using testing::normal;

TEST_CASE("changing position t changes no output before t, and all from t on") {
  for (const bool rotary : {false, true}) {
    ParameterStore store(1, DType::f64);
    const SelfAttention attention(Scope(store) / "a", 8, {.heads = 2, .rotary = rotary});
    ForwardContext ctx;
    const Tensor x = normal({1, 6, 8}, "x");
    const Tensor y = attention(Variable(x), ctx).value();
    for (std::int64_t t = 0; t < 6; ++t) {
      const Tensor changed = x.clone();
      changed.data<double>()[t * 8] += 1.0;
      const Tensor z = attention(Variable(changed), ctx).value();
      for (std::int64_t row = 0; row < 6; ++row) {
        const Tensor before = y.view({6, 8}).slice0(row, row + 1),
                     after = z.view({6, 8}).slice0(row, row + 1);
        CHECK((max_difference(before, after) > 0.0) == (row >= t));
      }
    }
  }
}

TEST_CASE("one position attends to itself alone: the output map of its value") {
  ParameterStore store(1, DType::f64);
  const SelfAttention attention(Scope(store) / "a", 4, {.heads = 2, .bias = true});
  ForwardContext ctx;
  const Variable x(normal({3, 1, 4}, "x"));
  const Variable qkv =
      Linear(store.find("a.qkv.weight")->variable, store.find("a.qkv.bias")->variable)(x, ctx);
  const Linear out(store.find("a.out.weight")->variable, store.find("a.out.bias")->variable);
  CHECK(max_difference(attention(x, ctx).value(), out(ops::slice(qkv, 2, 8, 12), ctx).value()) < 1e-14);
}

TEST_CASE("steps through a cache equal the whole sequence") {
  for (const bool rotary : {false, true}) {
    ParameterStore store(1, DType::f64);
    const SelfAttention attention(Scope(store) / "a", 8, {.heads = 2, .rotary = rotary});
    ForwardContext ctx;
    const Variable x(normal({2, 7, 8}, "x"));
    const Tensor whole = attention(x, ctx).value();
    const Tensor cache = attention.make_cache(2, 9);
    std::int64_t position = 0;
    for (const std::int64_t count : {3, 1, 2, 1}) {
      const Variable part = ops::slice(x, 1, position, position + count);
      const Tensor y = attention.step(part, cache, position, ctx).value();
      CHECK(max_difference(y, ops::slice(Variable(whole), 1, position, position + count).value()) < 1e-12);
      position += count;
    }
  }
}

TEST_CASE("attention options that do not fit are refused") {
  ParameterStore store(1);
  const Scope scope(store);
  CHECK_THROWS_WITH_AS(SelfAttention(scope / "a", 10, {.heads = 4}), "heads = 4 must divide dim = 10",
                       UserError);
  CHECK_THROWS_WITH_AS(SelfAttention(scope / "b", 6, {.heads = 2, .rotary = true}),
                       "rotary positions need an even dim / heads, got 6 / 2 = 3", UserError);
  CHECK(store.parameters().empty());
}

TEST_CASE("the account of attention counts both maps and the causal half of the scores") {
  ParameterStore store(1);
  const SelfAttention attention(Scope(store) / "a", 8, {.heads = 2});
  CHECK(attention.account(5).parameters == 4 * 64);
  CHECK(attention.account(5).flops_per_token == 2.0 * 4 * 64 + 4.0 * 8 * (1 + 2 + 3 + 4 + 5) / 5.0);
}

}  // namespace simsmoe::nn
