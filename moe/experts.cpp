// The grouped two-layer network of all experts.
#include "moe/experts.hpp"

#include "nn/layers.hpp"
#include "ops/matmul.hpp"

namespace simsmoe::moe {

Experts::Experts(const nn::Scope& scope, const MoeOptions& o, std::int64_t dim)
    : activation_(o.activation), dropout_(o.dropout), dropout_key_(scope.key("dropout")) {
  // An expert is a dense network of its own, so the fan-in is that of one expert, not of the stack.
  up_ = scope.parameter("up", {o.experts, o.hidden, dim}, nn::init::linear(dim, o.init_std));
  down_ = scope.parameter("down", {o.experts, dim, o.hidden}, nn::init::linear(o.hidden, o.output_std));
  if (!o.bias) return;
  const nn::ParameterOptions no_decay{.trainable = true, .decay = false};
  up_bias_ = scope.parameter("up_bias", {o.experts, o.hidden}, nn::init::zeros(), no_decay);
  down_bias_ = scope.parameter("down_bias", {o.experts, dim}, nn::init::zeros(), no_decay);
}

Variable Experts::forward(const Variable& x, const Tensor& offsets, nn::ForwardContext& ctx) const {
  const DType dtype = nn::compute_dtype(up_, ctx);
  const auto map = [&](const Variable& rows, const Variable& weight, const Variable& bias) {
    return ops::grouped_matmul(rows, nn::to_dtype(weight, dtype), offsets, nn::to_dtype(bias, dtype));
  };
  const Variable hidden = nn::activate(activation_, map(nn::to_dtype(x, dtype), up_, up_bias_));
  return map(nn::dropout(hidden, dropout_, dropout_key_, ctx), down_, down_bias_);
}

nn::Account Experts::account_of_one() const {
  const std::int64_t weights = (up_.value().numel() + down_.value().numel()) / count();
  const std::int64_t biases = up_bias_.defined() ? up_bias_.size(1) + down_bias_.size(1) : 0;
  return {weights + biases, weights + biases, 2.0 * static_cast<double>(weights)};
}

}  // namespace simsmoe::moe
