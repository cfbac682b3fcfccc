// The grouped two-layer network of all experts.
#include "moe/experts.hpp"

#include <cmath>

#include "nn/layers.hpp"
#include "ops/layout.hpp"
#include "ops/matmul.hpp"

namespace simsmoe::moe {

namespace {

// W_e = sqrt(share) W_0 + sqrt(1 - share) W_e', with W_0 and all W_e' drawn by `init`: the variance stays. share = 1
// makes all experts equal. Shapes: [E, ...].
nn::Init alike(const nn::Init& init, double share) {
  if (share == 0.0) return init;
  return [init, share](const Shape& shape, DType dtype, RandomKey key) {
    const RandomKey common_key{key.seed, key.stream ^ stream_of("common")};
    const std::vector<double> common = init(shape.with(0, 1), DType::f64, common_key).to_vector<double>();
    std::vector<double> weights = init(shape, DType::f64, key).to_vector<double>();
    for (std::size_t i = 0; i < weights.size(); ++i)
      weights[i] = std::sqrt(share) * common[i % common.size()] + std::sqrt(1.0 - share) * weights[i];
    return Tensor::from(weights, shape).to(dtype);
  };
}

// An expert is a dense network of its own, so the fan-in is that of one expert, not of the stack. The published code of
// SimSMoE and CompeteSMoE has PyTorch take it from the stack, which makes it in * out: 0.0028 in place of 0.0625 for 256 x
// 512.
nn::Init map_init(const MoeOptions& o, std::int64_t in, std::int64_t out, double std) {
  return alike(o.reference() ? nn::init::linear(in * out, std) : nn::init::linear(in, std), o.init_alike);
}

}  // namespace

Experts::Experts(const nn::Scope& scope, const MoeOptions& o, const nn::Site& site)
    : activation_(o.activation), dropout_(o.dropout), dropout_key_(scope.key("dropout")) {
  up_ =
      scope.parameter("up", {o.experts, o.hidden, site.dim}, map_init(o, site.dim, o.hidden, site.init_std));
  down_ = scope.parameter("down", {o.experts, site.dim, o.hidden},
                          map_init(o, o.hidden, site.dim, site.output_std));
  if (!o.bias) return;
  const nn::ParameterOptions no_decay{.trainable = true, .decay = false};
  up_bias_ = scope.parameter("up_bias", {o.experts, o.hidden}, nn::init::zeros(), no_decay);
  down_bias_ = scope.parameter("down_bias", {o.experts, site.dim}, nn::init::zeros(), no_decay);
}

Variable Experts::forward(const Variable& x, const Tensor& offsets, nn::ForwardContext& ctx) const {
  const DType dtype = nn::compute_dtype(up_, ctx);
  const auto map = [&](const Variable& rows, const Variable& weight, const Variable& bias) {
    return ops::grouped_matmul(rows, nn::to_dtype(weight, dtype), offsets, nn::to_dtype(bias, dtype));
  };
  const Variable hidden = nn::activate(activation_, map(nn::to_dtype(x, dtype), up_, up_bias_));
  return map(nn::dropout(hidden, dropout_, dropout_key_, ctx, count()), down_, down_bias_);
}

Variable Experts::forward_pair(const Variable& x, std::int64_t a, std::int64_t b, DType compute_dtype) const {
  SMX_CHECK(a < b, "[experts] expected a pair in ascending order, got {} and {}", a, b);
  const std::int64_t n = x.size(0);
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(count() + 1), 0);
  for (std::int64_t e = a; e < count(); ++e) offsets[static_cast<std::size_t>(e + 1)] = e < b ? n : 2 * n;
  nn::ForwardContext calm;
  calm.compute_dtype = compute_dtype;
  return forward(ops::concat({x, x}, 0), Tensor::from(offsets, {count() + 1}), calm);
}

nn::Account Experts::account_of_one() const {
  const std::int64_t weights = (up_.value().numel() + down_.value().numel()) / count();
  const std::int64_t biases = up_bias_.defined() ? up_bias_.size(1) + down_bias_.size(1) : 0;
  return {weights + biases, weights + biases, 2.0 * static_cast<double>(weights)};
}

}  // namespace simsmoe::moe
