#pragma once
// What most routers begin with: one score per token and expert, g = W x + b, computed in the dtype of the
// parameters (an nn::Linear called as a layer would compute in bf16 where the rest of the model does).

#include "moe/options.hpp"
#include "nn/layers.hpp"
#include "ops/matmul.hpp"

namespace simsmoe::moe {

struct ScoreMap {
  // "weight" [E, D] and "bias" [E] when options.router_bias, or the published code, asks for it.
  ScoreMap(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site, bool published_bias,
           bool trainable = true)
      : map(scope, site.dim, options.experts,
            {.bias = options.router_bias || published_bias,
             .init_std = site.init_std,
             .trainable = trainable}) {}

  // x: [N, D] -> [N, E]
  Variable operator()(const Variable& x) const {
    return ops::linear(nn::to_dtype(x, map.weight.dtype()), map.weight, map.bias);
  }
  nn::Account account() const { return map.account(); }

  nn::Linear map;
};

}  // namespace simsmoe::moe
