#pragma once
// Causal multi-head self-attention with one packed projection for queries, keys and values: a position sees
// itself and what lies before it. The scores are computed in tiles by ops::attention.

#include "nn/layers.hpp"

namespace simsmoe::nn {

struct SelfAttentionOptions {
  std::int64_t heads = 4;   // H; must divide dim, and D / H must be even when rotary
  bool bias = false;        // of both projections
  bool rotary = false;      // turn queries and keys by their position (Su et al. 2021)
  double init_std = 0.0;    // see LinearOptions
  double output_std = 0.0;  // the same for the output projection
};

class SelfAttention {
 public:
  // Throws UserError when the heads do not fit dim.
  SelfAttention(const Scope& scope, std::int64_t dim, SelfAttentionOptions options);

  Variable operator()(const Variable& x, ForwardContext& ctx) const;  // x: [B, T, D] -> [B, T, D]

  // Generation: x holds the t positions after the first `position`, whose keys and values are in `cache`
  // [2, B, max_length, H, C]; appends theirs. Inference only: no gradient.
  Variable step(const Variable& x, const Tensor& cache, std::int64_t position, ForwardContext& ctx) const;
  Tensor make_cache(std::int64_t batch, std::int64_t max_length) const;

  Account account(std::int64_t length) const;  // FLOPs averaged over the positions of a sequence of `length`

 private:
  Variable project(const Variable& x, std::int64_t first_position, ForwardContext& ctx) const;

  std::int64_t dim_;
  SelfAttentionOptions options_;
  Linear qkv_;  // [3 D, D]
  Linear out_;  // [D, D]
};

}  // namespace simsmoe::nn
