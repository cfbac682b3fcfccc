// Projection, rotation, attention and output map, for whole sequences and for generation.

#include "nn/attention.hpp"

#include <algorithm>

#include "ops/attention.hpp"
#include "ops/layout.hpp"
#include "ops/rotary.hpp"

namespace simsmoe::nn {

namespace {

SelfAttentionOptions checked(SelfAttentionOptions options, std::int64_t dim) {
  FieldList list;
  list.section("model", options);
  check_limits(list);
  options.check(dim);
  if (options.key_heads == 0) options.key_heads = options.heads;
  return options;
}

class SelfAttention : public Attention {
 public:
  SelfAttention(const Scope& scope, const SelfAttentionOptions& options, const Site& site)
      : options_(checked(options, site.dim)),
        width_(site.dim / options_.heads),
        qkv_(scope / "qkv", site.dim, (options_.heads + 2 * options_.key_heads) * width_,
             {.bias = options.bias, .init_std = site.init_std}),
        out_(scope / "out", site.dim, site.dim, {.bias = options.bias, .init_std = site.output_std}) {}

  Attended forward(const Variable& x, const Past& past, ForwardContext& ctx) const override {
    const std::int64_t H = options_.heads, G = options_.key_heads;
    Variable qkv = ops::reshape(qkv_(x, ctx), {x.size(0), x.size(1), H + 2 * G, width_});
    if (options_.rotary) qkv = ops::rotary(ops::Heads{.x = qkv, .count = H + G}, past.position);
    if (past.kept.defined())
      qkv = to_dtype(qkv, past.kept.dtype());  // with the roundings of a whole sequence
    const ops::Heads q{.x = qkv, .count = H}, k{.x = qkv, .first = H, .count = G},
        v{.x = qkv, .first = H + G, .count = G};
    const ops::AttentionOptions seen{.window = options_.window};
    const Variable y = past.kept.defined()
                           ? Variable(ops::cached_attention(q, k, v, past.kept, past.position, seen))
                           : ops::attention(q, k, v, seen);
    return {out_(y, ctx), past.kept};
  }

  Tensor begin(std::int64_t batch, std::int64_t capacity) const override {
    return Tensor::zeros({2, batch, capacity, options_.key_heads, width_}, qkv_.weight.dtype(),
                         qkv_.weight.device());
  }

  Account account(std::int64_t length) const override {
    Account sum = qkv_.account();
    sum += out_.account();
    // A position takes a product q.k and sums a value for each key that it sees, D multiply-adds each. The first
    // `window` positions see 1, 2, ... keys, those behind them `window`.
    const auto n = static_cast<double>(length);
    const double w = options_.window == 0 ? n : std::min(n, static_cast<double>(options_.window));
    const double keys = (w * (w + 1) / 2 + (n - w) * w) / n;
    sum.flops_per_token += 4.0 * static_cast<double>(options_.heads * width_) * keys;
    return sum;
  }

 private:
  SelfAttentionOptions options_;
  std::int64_t width_;  // C
  Linear qkv_;          // [(H + 2 G) C, D]
  Linear out_;          // [D, D]
};

}  // namespace

void SelfAttentionOptions::fields(FieldList& add) {
  add("heads", &heads, "attention heads; must divide model.dim", between(1, 4096));
  add("key_heads", &key_heads,
      "heads of keys and values, each read by a group of query heads; 0: as many as model.heads",
      between(0, 4096));
  add("window", &window, "a position sees itself and the window - 1 positions before it; 0: all before it",
      at_least(0));
  add("attention_bias", &bias, "bias in the attention projections");
}

void SelfAttentionOptions::check(std::int64_t dim) const {
  if (dim % heads != 0)
    throw UserError(fmt::format("model.heads = {} does not divide model.dim = {}", heads, dim));
  if (key_heads != 0 && heads % key_heads != 0)
    throw UserError(fmt::format("model.key_heads = {} does not divide model.heads = {}", key_heads, heads));
  if (rotary && dim / heads % 2 != 0)
    throw UserError(fmt::format(
        "model.positions = rotary needs an even head size, but model.dim / model.heads = {}", dim / heads));
}

AttentionFactory self_attention(SelfAttentionOptions options) {
  return [options](const Scope& scope, const Site& site) -> std::unique_ptr<Attention> {
    return std::make_unique<SelfAttention>(scope, options, site);
  };
}

}  // namespace simsmoe::nn
