#include "ops/attention.hpp"

#include "tests/support/op_case.hpp"

// Sizes on both sides of a tile (64 queries, 128 keys), odd sizes, one position, none; each option alone and
// the forms that decoders use.

namespace simsmoe::testing {

namespace {

using Options = ops::AttentionOptions;
using Run = std::function<Variable(const Variables&)>;

// Queries, keys and values are inputs of their own.
Run separate(const Options& options) {
  return [options](const Variables& x) { return ops::attention({x[0]}, {x[1]}, {x[2]}, options); };
}

// The same with options that need further inputs.
Run separate_with(const std::function<Options(const Variables&)>& options) {
  return [options](const Variables& x) { return ops::attention({x[0]}, {x[1]}, {x[2]}, options(x)); };
}

// Grouped queries on one projection [B, T, H + 2G, C].
Run packed(std::int64_t H, std::int64_t G, const Options& options = {}) {
  return [=](const Variables& x) {
    return ops::attention({x[0], 0, H}, {x[0], H, G}, {x[0], H + G, G}, options);
  };
}

void add_causal() {
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
  add("causal_attention", "H=0", {rand({2, 4, 3, 0, 4})}, attention).zero_gradient = true;
  add("causal_attention", "scale", {rand({1, 5, 3, 2, 4})},
      [](const Variables& x) { return ops::causal_attention(x[0], 1.25); });
  // Scores in the hundreds: exp overflows unless the maximum goes first. Their rounding is a relative error
  // of P that much larger; in bf16 the rounding of y enters dq and dk through dy . y.
  add("causal_attention", "huge scores", {rand({1, 9, 3, 1, 4}, -16.0, 16.0)}, attention)
      .tolerance.reference = 8.0;
  // One head of two channels over four positions; the second position has a special key, the third a value.
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
}

void add_operands() {
  // Which tensors the heads are in. `aliasing` replaces one input by another of its shape: overlapping heads.
  add("attention", "three tensors", {rand({2, 5, 2, 3}), rand({2, 5, 2, 3}), rand({2, 5, 2, 3})},
      separate({}));
  add("attention", "groups of 2", {rand({2, 4, 8, 3})}, packed(4, 2));
  add("attention", "groups of 3, two tiles", {rand({1, 66, 5, 2})}, packed(3, 1));
  add("attention", "keys and values packed", {rand({1, 5, 4, 3}), rand({1, 7, 4, 3})},
      [](const Variables& x) {
        return ops::attention({x[0]}, {x[1], 0, 2}, {x[1], 2});
      });
  add("attention", "heads that nobody reads", {rand({2, 4, 7, 3})}, [](const Variables& x) {
    return ops::attention({x[0], 1, 2}, {x[0], 6}, {x[0], 4, 1});
  });
  // Query head 1 is key head 0, read by another thread than the one of query head 1.
  add("attention", "overlapping heads", {rand({2, 4, 4, 3})}, [](const Variables& x) {
    return ops::attention({x[0], 0, 4}, {x[0], 1, 2}, {x[0], 2, 2});
  });
  // As many heads as there are, but one is read twice and one by nobody.
  add("attention", "overlapping heads and a gap", {rand({2, 4, 4, 3})}, [](const Variables& x) {
    return ops::attention({x[0], 0, 2}, {x[0], 1, 1}, {x[0], 2, 1});
  });
  add("attention", "more keys", {rand({2, 3, 2, 3}), rand({2, 7, 1, 3}), rand({2, 7, 1, 3})}, separate({}));
  add("attention", "T=0", {rand({2, 0, 2, 3}), rand({2, 3, 1, 3}), rand({2, 3, 1, 3})}, separate({}))
      .zero_gradient = true;

  // Key 1 of the first sequence is infinite, and a value is no number.
  add("attention", "infinities and NaN",
      {fixed({1, 2, 1, 2}, {0.5, -0.25, 1.0, 0.75}),
       fixed({1, 3, 1, 2}, {0.25, 1.0, kInfinity, 0.5, -0.5, 0.75}),
       fixed({1, 3, 1, 2}, {1.0, 0.5, -0.25, 0.75, kNan, 0.5})},
      separate({.position = 1}))
      .nonfinite = true;
  const InputSpec tiny = rand({2, 3, 2, 3}, -1e-30, 1e-30);
  add("attention", "tiny", {tiny, tiny, tiny}, separate({})).extreme = true;
  // Scores of huge queries and keys leave the range of f32.
  add("attention", "huge values", {rand({2, 3, 2, 3}), rand({2, 3, 2, 3}), rand({2, 3, 2, 3}, -1e30, 1e30)},
      separate({}))
      .extreme = true;

  const InputSpec q = rand({2, 3, 4, 2}), k = rand({2, 5, 2, 2});
  add_error("attention", "rank", {rand({2, 3, 4}), k, k}, separate({}),
            "[attention] expected q [B, T, heads, C]");
  add_error("attention", "integers", {q, integers({2, 5, 2, 2}, 0, 3), k}, separate({}),
            "[attention] expected a float tensor");
  add_error("attention", "no such heads", {rand({2, 3, 4, 2})}, packed(3, 1),
            "[attention] expected v within the 4 heads of");
  add_error("attention", "batch", {q, rand({1, 5, 2, 2}), k}, separate({}),
            "[attention] expected k [2, S, G, 2]");
  add_error("attention", "width", {q, rand({2, 5, 2, 3}), k}, separate({}),
            "[attention] expected k [2, S, G, 2]");
  add_error("attention", "values", {q, k, rand({2, 4, 2, 2})}, separate({}), "[attention] expected v like k");
  add_error("attention", "value heads", {q, k, rand({2, 5, 1, 2})}, separate({}),
            "[attention] expected v like k");
  add_error("attention", "groups", {q, rand({2, 5, 3, 2}), rand({2, 5, 3, 2})}, separate({}),
            "[attention] expected a number of query heads that 3 key heads divide, got 4");
}

void add_masks() {
  const InputSpec q = rand({2, 6, 2, 3}), k = rand({2, 6, 1, 3});
  add("attention", "window", {q, k, k}, separate({.window = 2}));
  // Position 0 sees nothing: its row is 0, and so are the gradients of q there.
  add("attention", "without the current position", {q, k, k}, separate({.current = false}));
  add("attention", "window without the current position", {q, k, k},
      separate({.current = false, .window = 3}));
  // Each query sees one key: P is 1, and neither query nor key matters.
  add("attention", "window of 1", {q, k, k}, separate({.window = 1})).zero_gradient = true;
  add("attention", "window, many tiles", {rand({1, 150, 1, 4}), rand({1, 300, 1, 4}), rand({1, 300, 1, 4})},
      separate({.window = 70}));
  add("attention", "position", {rand({2, 3, 2, 3}), rand({2, 8, 1, 3}), rand({2, 8, 1, 3})},
      separate({.position = 2}));
  add("attention", "queries behind all keys", {rand({2, 3, 2, 3}), rand({2, 4, 1, 3}), rand({2, 4, 1, 3})},
      separate({.window = 5, .position = 6}));
  add("attention", "not causal", {q, k, k}, separate({.causal = false}));
  add("attention", "not causal, fewer keys", {rand({1, 70, 1, 2}), rand({1, 3, 1, 2}), rand({1, 3, 1, 2})},
      separate({.causal = false}));
  add("attention", "no keys", {rand({2, 3, 2, 3}), rand({2, 0, 1, 3}), rand({2, 0, 1, 3})},
      separate({.causal = false}))
      .zero_gradient = true;

  const InputSpec q3 = rand({3, 5, 2, 2}), k3 = rand({3, 5, 1, 2});
  const auto end = [](const Variables& x) { return Options{.causal = false, .end = x[3].value()}; };
  add("attention", "padding on the right", {q3, k3, k3, fixed_integers({3}, {3, 0, 9})}, separate_with(end));
  add("attention", "padding on the left", {q3, k3, k3, fixed_integers({3}, {2, 5, -1}, DType::i64)},
      separate_with([](const Variables& x) { return Options{.begin = x[3].value()}; }));
  add("attention", "padding on both sides",
      {rand({2, 70, 1, 2}), rand({2, 200, 1, 2}), rand({2, 200, 1, 2}), fixed_integers({2}, {3, 150}),
       fixed_integers({2}, {190, 149})},
      separate_with([](const Variables& x) {
        return Options{.window = 90, .begin = x[3].value(), .end = x[4].value()};
      }));

  add_error("attention", "negative window", {q, k, k}, separate({.window = -1}),
            "[attention] expected window >= 0");
  add_error("attention", "window without causality", {q, k, k}, separate({.causal = false, .window = 2}),
            "[attention] expected causal = true");
  add_error("attention", "fewer keys", {q, rand({2, 5, 1, 3}), rand({2, 5, 1, 3})}, separate({}),
            "[attention] expected position >= 0, or at least as many keys as queries");
  add_error("attention", "negative position", {q, k, k}, separate({.position = -1}),
            "[attention] expected position >= 0");
  add_error("attention", "lengths", {q3, k3, k3, fixed_integers({2}, {3, 1})}, separate_with(end),
            "[attention] expected end [3]");
  add_error("attention", "float lengths", {q3, k3, k3, rand({3})}, separate_with(end),
            "[attention] expected an integer tensor");
}

void add_relative() {
  const InputSpec q = rand({2, 4, 2, 3}), k = rand({2, 6, 1, 3}), u = optional(rand({2, 3}));
  const auto r = [](Shape shape) { return optional(rand(std::move(shape))); };
  const auto relative = [](const Variables& x) { return Options{.relative = x[3]}; };
  add("attention", "relative", {q, k, k, r({6, 3})}, separate_with(relative));
  add("attention", "relative per head", {q, k, k, r({6, 2, 3})}, separate_with(relative));
  // Rows of distances that nobody sees: their gradient is 0.
  add("attention", "more distances", {q, k, k, r({9, 3})},
      separate_with([](const Variables& x) { return Options{.relative = x[3], .first_distance = -2}; }));
  add("attention", "distances of both signs", {q, k, k, r({10, 2, 3})}, separate_with([](const Variables& x) {
        return Options{.causal = false, .relative = x[3], .first_distance = -4};
      }));
  // R = H: one Variable may be r and a bias, too.
  add("attention", "distances and heads alike",
      {rand({2, 2, 2, 3}), rand({2, 2, 2, 3}), rand({2, 2, 2, 3}), u, u},
      separate_with([](const Variables& x) { return Options{.relative = x[3], .relative_bias = x[4]}; }));
  add("attention", "query bias alone", {q, k, k, u},
      separate_with([](const Variables& x) { return Options{.query_bias = x[3]}; }));
  add("attention", "query bias and relative", {q, k, k, r({6, 3}), u},
      separate_with([](const Variables& x) { return Options{.relative = x[3], .query_bias = x[4]}; }));

  const auto xl = [](const Variables& x) {
    return Options{.relative = x[3], .query_bias = x[4], .relative_bias = x[5]};
  };
  add("attention", "Transformer-XL", {q, rand({2, 6, 2, 3}), rand({2, 6, 2, 3}), r({6, 2, 3}), u, u},
      separate_with(xl));
  add("attention", "Transformer-XL, many tiles",
      {rand({1, 70, 1, 6}), rand({1, 200, 1, 6}), rand({1, 200, 1, 6}), r({200, 1, 6}), r({1, 6}), r({1, 6})},
      separate_with(xl));
  add("attention", "relative, more sequences than pieces",
      {rand({67, 2, 1, 1}), rand({67, 3, 1, 1}), rand({67, 3, 1, 1}), r({3, 1}), r({1, 1}), r({1, 1})},
      separate_with(xl));
  add("attention", "relative, B=0",
      {rand({0, 2, 1, 1}), rand({0, 3, 1, 1}), rand({0, 3, 1, 1}), r({3, 1}), r({1, 1}), r({1, 1})},
      separate_with(xl))
      .zero_gradient = true;

  const auto span = [](std::int64_t L) {
    return separate_with([L](const Variables& x) {
      return Options{.current = false, .window = L, .relative = x[3], .first_distance = 1};
    });
  };
  add("attention", "span", {q, rand({2, 7, 2, 3}), rand({2, 7, 2, 3}), r({3, 3})}, span(3));
  add("attention", "span, many tiles",
      {rand({1, 130, 1, 5}), rand({1, 230, 1, 5}), rand({1, 230, 1, 5}), r({100, 5})}, span(100));
  add("attention", "span, padding, groups",
      {rand({2, 4, 4, 2}), rand({2, 7, 2, 2}), rand({2, 7, 2, 2}), r({3, 2}), fixed_integers({2}, {2, 6})},
      separate_with([](const Variables& x) {
        return Options{
            .current = false, .window = 3, .begin = x[4].value(), .relative = x[3], .first_distance = 1};
      }));

  add_error("attention", "too few distances", {q, k, k, rand({5, 3})}, separate_with(relative),
            "[attention] expected relative to hold the distances 0 to 5, got 0 to 4");
  add_error("attention", "distances too far", {q, rand({2, 7, 1, 3}), rand({2, 7, 1, 3}), rand({9, 3})},
            separate_with([](const Variables& x) { return Options{.relative = x[3], .first_distance = 1}; }),
            "[attention] expected relative to hold the distances 0 to 6, got 1 to 9");
  add_error("attention", "shape of relative", {q, k, k, rand({6, 3, 3})}, separate_with(relative),
            "[attention] expected relative [R, 3] or [R, 2, 3]");
  add_error("attention", "bias", {q, k, k, rand({1, 3})},
            separate_with([](const Variables& x) { return Options{.query_bias = x[3]}; }),
            "[attention] expected query_bias [2, 3]");
  add_error("attention", "bias without relative", {q, k, k, u},
            separate_with([](const Variables& x) { return Options{.relative_bias = x[3]}; }),
            "[attention] expected relative with relative_bias");
}

void add_cached() {
  // A copy of the cache, as inputs are only read; what is behind the new entries is never read.
  const auto copy = [](const Variable& cache) { return cache.defined() ? cache.value().clone() : Tensor(); };
  const auto cached = [copy](std::int64_t position) {
    return [copy, position](const Variables& x) {
      return Variable(ops::cached_attention(ops::value_or_undefined(x[0]), copy(x[1]), position));
    };
  };
  const InputSpec qkv = constant(rand({2, 3, 3, 2, 4})), cache = constant(rand({2, 2, 8, 2, 4}));
  add("cached_attention", "first", {qkv, cache}, cached(0));
  add("cached_attention", "later", {qkv, cache}, cached(5));
  const auto grouped = [copy](const Options& options) {
    return [copy, options](const Variables& x) {
      const Variable& p = x[0];
      return Variable(ops::cached_attention({p, 0, 4}, {p, 4, 2}, {p, 6, 2}, copy(x[1]), 4, options));
    };
  };
  add("cached_attention", "groups", {constant(rand({2, 3, 8, 4})), cache}, grouped({.window = 3}));
  add_error("cached_attention", "full", {qkv, cache}, cached(6),
            "[cached_attention] expected positions within the cache of 8, got 6 to 9");
  add_error("cached_attention", "before", {qkv, cache}, cached(-1), "[cached_attention] expected positions");
  add_error("cached_attention", "heads", {qkv, rand({2, 2, 8, 3, 4})}, cached(0),
            "[cached_attention] expected cache [2, 2, max_length, 2, 4]");
  add_error("cached_attention", "position", {rand({2, 3, 8, 4}), cache}, grouped({.position = 1}),
            "[cached_attention] expected causal = true and no position");
  add_error("cached_attention", "not causal", {rand({2, 3, 8, 4}), cache}, grouped({.causal = false}),
            "[cached_attention] expected causal = true and no position");
  add_error(
      "cached_attention", "new keys", {rand({2, 3, 2, 4}), rand({2, 4, 2, 4}), cache},
      [](const Variables& x) {
        return Variable(ops::cached_attention({x[0]}, {x[1]}, {x[1]}, x[2].value(), 0));
      },
      "[cached_attention] expected as many new keys as queries, 3, got 4");
  add_error(
      "cached_attention", "gradient", {rand({2, 3, 8, 4}), cache},
      [grouped](const Variables& x) {
        const Tape tape;
        return grouped({})(x);
      },
      "[cached_attention] expected operands without gradient");
}

}  // namespace

SMX_CASES(attention) {
  add_causal();
  add_operands();
  add_masks();
  add_relative();
  add_cached();
}

}  // namespace simsmoe::testing
