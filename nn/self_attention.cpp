// Projection, rotation, attention and output map, for whole sequences and for generation.

#include "nn/self_attention.hpp"

#include "ops/attention.hpp"
#include "ops/layout.hpp"
#include "ops/rotary.hpp"

namespace simsmoe::nn {

namespace {

SelfAttentionOptions checked(std::int64_t dim, SelfAttentionOptions options) {
  if (options.heads < 1 || dim % options.heads != 0)
    throw UserError(fmt::format("heads = {} must divide dim = {}", options.heads, dim));
  if (options.rotary && dim / options.heads % 2 != 0)
    throw UserError(fmt::format("rotary positions need an even dim / heads, got {} / {} = {}", dim,
                                options.heads, dim / options.heads));
  return options;
}

}  // namespace

SelfAttention::SelfAttention(const Scope& scope, std::int64_t dim, SelfAttentionOptions options)
    : dim_(dim),
      options_(checked(dim, options)),
      qkv_(scope / "qkv", dim, 3 * dim, {.bias = options.bias, .init_std = options.init_std}),
      out_(scope / "out", dim, dim, {.bias = options.bias, .init_std = options.output_std}) {}

Variable SelfAttention::project(const Variable& x, std::int64_t first_position, ForwardContext& ctx) const {
  const Shape packed{x.size(0), x.size(1), 3, options_.heads, dim_ / options_.heads};
  const Variable qkv = ops::reshape(qkv_(x, ctx), packed);
  return options_.rotary ? ops::rotary(qkv, first_position) : qkv;
}

Variable SelfAttention::operator()(const Variable& x, ForwardContext& ctx) const {
  return out_(ops::causal_attention(project(x, 0, ctx)), ctx);
}

Variable SelfAttention::step(const Variable& x, const Tensor& cache, std::int64_t position,
                             ForwardContext& ctx) const {
  const Variable qkv = to_dtype(project(x, position, ctx), cache.dtype());
  return out_(Variable(ops::cached_attention(qkv.value(), cache, position)), ctx);
}

Tensor SelfAttention::make_cache(std::int64_t batch, std::int64_t max_length) const {
  return Tensor::zeros({2, batch, max_length, options_.heads, dim_ / options_.heads}, qkv_.weight.dtype(),
                       qkv_.weight.device());
}

Account SelfAttention::account(std::int64_t length) const {
  Account sum = qkv_.account();
  sum += out_.account();
  // Position t takes t + 1 products q.k and sums t + 1 values, D multiply-adds each: 4 D (t + 1), on average
  // 2 D (length + 1).
  sum.flops_per_token += 2.0 * static_cast<double>(dim_) * static_cast<double>(length + 1);
  return sum;
}

}  // namespace simsmoe::nn
