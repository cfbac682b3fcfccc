#include "ops/attention.hpp"

#include "tests/support/op_case.hpp"

// Sizes on both sides of a tile (64 queries, 128 keys), odd sizes, one position, none.

namespace simsmoe::testing {

SMX_CASES(attention) {
  const auto attention = [](const Variables& x) { return ops::causal_attention(x[0]); };
  add("causal_attention", "B2 T5 H3 C4", {rand({2, 5, 3, 3, 4})}, attention);
  add("causal_attention", "odd C", {rand({1, 7, 3, 2, 5})}, attention);
  add("causal_attention", "two tiles of queries", {rand({1, 67, 3, 1, 3})}, attention);
  add("causal_attention", "two tiles of keys", {rand({1, 131, 3, 1, 2})}, attention);
  // One position sees itself alone: y = v, and neither query nor key matters.
  add("causal_attention", "T=1", {rand({2, 1, 3, 2, 4})}, attention);
  add("causal_attention", "C=1", {rand({1, 6, 3, 2, 1})}, attention);
  add("causal_attention", "T=0", {rand({2, 0, 3, 2, 4})}, attention).zero_gradient = true;
  add("causal_attention", "B=0", {rand({0, 4, 3, 2, 4})}, attention).zero_gradient = true;
  add("causal_attention", "scale", {rand({1, 5, 3, 2, 4})},
      [](const Variables& x) { return ops::causal_attention(x[0], 1.25); });
  // Scores in the hundreds: exp overflows unless the maximum goes first. Their rounding is a relative error
  // of P that much larger; in bf16 the rounding of y enters dq and dk through dy . y.
  add("causal_attention", "huge scores", {rand({1, 9, 3, 1, 4}, -16.0, 16.0)}, attention)
      .tolerance.reference = 8.0;
  // One head of two channels over four positions; the second position has an infinite key, the third no number.
  const auto special = [](double key, double value) {
    std::vector<double> qkv;
    for (int t = 0; t < 4; ++t)
      for (const double x : {0.5, -0.25, t == 1 ? key : 0.75, 0.25, 1.0, t == 2 ? value : -0.5})
        qkv.push_back(x * (1.0 + 0.25 * t));
    return fixed({1, 4, 3, 1, 2}, std::move(qkv));
  };
  add("causal_attention", "infinities and NaN", {special(kInfinity, kNan)}, attention).nonfinite = true;
  add("causal_attention", "tiny", {rand({2, 5, 3, 3, 4}, -1e-30, 1e-30)}, attention).extreme = true;
  // Huge values; scores of huge queries and keys leave the range of f32.
  add("causal_attention", "huge values",
      {fixed({1, 3, 3, 1, 1}, {0.5, 1.0, 1e30, -0.25, 0.5, -2e30, 1.0, -0.75, 3e30})}, attention)
      .extreme = true;
  add_error("causal_attention", "rank", {rand({2, 5, 3, 4})}, attention,
            "[causal_attention] expected qkv [B, T, 3, H, C]");
  add_error("causal_attention", "parts", {rand({2, 5, 2, 3, 4})}, attention,
            "[causal_attention] expected qkv [B, T, 3, H, C]");
  add_error("causal_attention", "C=0", {rand({2, 5, 3, 3, 0})}, attention,
            "[causal_attention] expected qkv [B, T, 3, H, C]");
  add_error("causal_attention", "integers", {integers({2, 5, 3, 3, 4}, 0, 5)}, attention,
            "[causal_attention] expected a float tensor");

  const auto rotary = [](const Variables& x) { return ops::rotary(x[0]); };
  add("rotary", "B2 T5 H3 C4", {rand({2, 5, 3, 3, 4})}, rotary);
  add("rotary", "C=2", {rand({1, 3, 3, 1, 2})}, rotary);
  add("rotary", "T=0", {rand({1, 0, 3, 1, 2})}, rotary).zero_gradient = true;
  add("rotary", "later positions", {rand({1, 3, 3, 2, 6})},
      [](const Variables& x) { return ops::rotary(x[0], 1000, 500.0); });
  add("rotary", "infinities and NaN", {special(kInfinity, kNan)}, rotary).nonfinite = true;
  add_extremes("rotary", {rand({2, 5, 3, 3, 4})}, rotary);
  add_error("rotary", "odd C", {rand({1, 3, 3, 2, 5})}, rotary, "[rotary] expected an even C");
  add_error("rotary", "rank", {rand({3, 3, 2, 4})}, rotary, "[rotary] expected qkv [B, T, 3, H, C]");
  add_error(
      "rotary", "base", {rand({1, 3, 3, 2, 4})}, [](const Variables& x) { return ops::rotary(x[0], 0, 0.0); },
      "[rotary] expected a positive base");

  const auto cached = [](std::int64_t position) {
    return [position](const Variables& x) {
      return Variable(ops::cached_attention(x[0].value(), x[1].value(), position));
    };
  };
  const InputSpec qkv = rand({2, 3, 3, 2, 4});
  add_error("cached_attention", "full", {qkv, rand({2, 2, 8, 2, 4})}, cached(6),
            "[cached_attention] expected positions within the cache of 8, got 6 to 9");
  add_error("cached_attention", "before", {qkv, rand({2, 2, 8, 2, 4})}, cached(-1),
            "[cached_attention] expected positions");
  add_error("cached_attention", "heads", {qkv, rand({2, 2, 8, 3, 4})}, cached(0),
            "[cached_attention] expected cache [2, 2, max_length, 2, 4]");
}

}  // namespace simsmoe::testing
