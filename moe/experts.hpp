#pragma once
// All experts of one layer as stacked weights: two grouped matrix products run them together. Every
// collaborator that wants experts on rows of its own choice (similarity learning, competition) calls
// forward() again.

#include "moe/options.hpp"
#include "nn/context.hpp"
#include "nn/scope.hpp"

namespace simsmoe::moe {

class Experts {
 public:
  // Parameters "up" [E, F, D], "down" [E, D, F] and with options.bias "up_bias" [E, F], "down_bias" [E, D]. Weights as
  // nn::init::linear, in the variant reference with the fan-in D * F, of which options.init_alike is common to all experts;
  // biases 0.
  Experts(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site);

  // y[r] = down_e drop(act(up_e x[r] + up_bias_e)) + down_bias_e for offsets[e] <= r < offsets[e + 1],
  // dropout in training only. x: [M, D] sorted by expert, offsets: i64 [E + 1] on the host -> [M, D] in the
  // dtype that the context computes in
  Variable forward(const Variable& x, const Tensor& offsets, nn::ForwardContext& ctx) const;

  // Experts a < b on the same rows, without dropout: rows [0, n) of the result are a's outputs, [n, 2n) are b's.
  // x: [n, D] -> [2n, D]
  Variable forward_pair(const Variable& x, std::int64_t a, std::int64_t b, DType compute_dtype) const;

  // Parameters and forward FLOPs of one expert.
  nn::Account account_of_one() const;
  std::int64_t count() const { return up_.size(0); }

 private:
  nn::Activation activation_;
  double dropout_;
  RandomKey dropout_key_;
  Variable up_, up_bias_, down_, down_bias_;
};

}  // namespace simsmoe::moe
