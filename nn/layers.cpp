// The layers call one op each; what they add is parameters, casts and accounts.

#include "nn/layers.hpp"

#include "ops/index.hpp"
#include "ops/matmul.hpp"
#include "ops/norm.hpp"
#include "ops/random.hpp"
#include "ops/unary.hpp"

namespace simsmoe::nn {

namespace {

constexpr ParameterOptions kNoDecay{.trainable = true, .decay = false};

std::int64_t elements(const Variable& x) { return x.defined() ? x.value().numel() : 0; }

}  // namespace

Account& Account::operator+=(const Account& other) {
  parameters += other.parameters;
  active_parameters += other.active_parameters;
  flops_per_token += other.flops_per_token;
  return *this;
}

DType compute_dtype(const Variable& weight, const ForwardContext& ctx) {
  return weight.dtype() == DType::f64 ? DType::f64 : ctx.compute_dtype;
}

Variable to_dtype(const Variable& x, DType dtype) {
  return !x.defined() || x.dtype() == dtype ? x : ops::cast(x, dtype);
}

Linear::Linear(const Scope& scope, std::int64_t in, std::int64_t out, LinearOptions options) {
  weight = scope.parameter("weight", {out, in}, init::linear(in, options.init_std),
                           {.trainable = options.trainable, .decay = true});
  if (!options.bias) return;
  bias = scope.parameter("bias", {out}, options.init_std > 0.0 ? init::zeros() : init::kaiming_uniform(in),
                         {.trainable = options.trainable, .decay = false});
}

Variable Linear::operator()(const Variable& x, const ForwardContext& ctx) const {
  const DType dtype = compute_dtype(weight, ctx);
  return ops::linear(to_dtype(x, dtype), to_dtype(weight, dtype), to_dtype(bias, dtype));
}

Account Linear::account() const {
  const std::int64_t all = elements(weight) + elements(bias);
  return {all, all, 2.0 * static_cast<double>(elements(weight))};
}

Embedding::Embedding(const Scope& scope, std::int64_t vocab, std::int64_t dim, double init_std)
    : weight(scope.parameter("weight", {vocab, dim}, init::normal(init_std), kNoDecay)) {}

Variable Embedding::operator()(const Tensor& ids) const { return ops::embedding(weight, ids); }

Account Embedding::account() const { return {elements(weight), elements(weight), 0.0}; }

LayerNorm::LayerNorm(const Scope& scope, std::int64_t dim)
    : weight(scope.parameter("weight", {dim}, init::ones(), kNoDecay)),
      bias(scope.parameter("bias", {dim}, init::zeros(), kNoDecay)) {}

Variable LayerNorm::operator()(const Variable& x) const {
  return ops::layer_norm(to_dtype(x, weight.dtype()), weight, bias);
}

RmsNorm::RmsNorm(const Scope& scope, std::int64_t dim)
    : weight(scope.parameter("weight", {dim}, init::ones(), kNoDecay)) {}

Variable RmsNorm::operator()(const Variable& x) const {
  return ops::rms_norm(to_dtype(x, weight.dtype()), weight);
}

namespace {

std::variant<LayerNorm, RmsNorm> make_norm(const Scope& scope, std::int64_t dim, NormKind kind) {
  if (kind == NormKind::layer_norm) return LayerNorm(scope, dim);
  return RmsNorm(scope, dim);
}

}  // namespace

Norm::Norm(const Scope& scope, std::int64_t dim, NormKind kind) : norm_(make_norm(scope, dim, kind)) {}

Variable Norm::operator()(const Variable& x) const {
  return std::visit([&](const auto& norm) { return norm(x); }, norm_);
}

Account Norm::account() const {
  std::int64_t all = std::visit([](const auto& norm) { return elements(norm.weight); }, norm_);
  if (const auto* layer_norm = std::get_if<LayerNorm>(&norm_)) all += elements(layer_norm->bias);
  return {all, all, 0.0};
}

Variable dropout(const Variable& x, double p, RandomKey key, const ForwardContext& ctx,
                 std::int64_t rows_per_token) {
  if (!ctx.training || p == 0.0) return x;
  return ops::dropout(x, p, key, ctx.draw,
                      static_cast<std::uint64_t>(ctx.first_token * rows_per_token * x.size(-1)));
}

}  // namespace simsmoe::nn
