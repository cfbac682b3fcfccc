#pragma once
// Causal self-attention on packed projections, tiled: the T x T matrix of scores never exists in memory.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

// For every batch b and head h: y_t = sum_{s <= t} softmax_s(scale * q_t . k_s) v_s.
// qkv: [B, T, 3, H, C] (query, key, value; C = D / H), scale: 1 / sqrt(C) when 0 -> [B, T, H * C]
Variable causal_attention(const Variable& qkv, double scale = 0.0);

// Rotary position embedding (Su et al. 2021): the pairs (c, c + C/2) of queries and keys at position t are
// turned by the angle (first_position + t) * base^(-2c / C); values pass unchanged. C even. qkv: [B, T, 3, H,
// C] -> same shape
Variable rotary(const Variable& qkv, std::int64_t first_position = 0, double base = 10000.0);

// Attention of new positions to a cache, for generation; Tensors only: there is no backward.
// Copies k and v of qkv [B, T, 3, H, C] into cache [2, B, max_length, H, C] at `position` and returns [B, T,
// H * C]: new position t attends to cache entries 0 .. position + t.
Tensor cached_attention(const Tensor& qkv, const Tensor& cache, std::int64_t position, double scale = 0.0);

}  // namespace simsmoe::ops

// qkv, dqkv: [B, T, 3, H, C]; y, dy: [B, T, H * C]; lse: [B, H, T], the logarithm of each row's sum of
// exponentials, in the type that kernels compute in (f32 for bf16).
SMX_CPU_KERNEL(causal_attention_forward,
               (const Tensor& qkv, double scale, const Tensor& y, const Tensor& lse))
SMX_CPU_KERNEL(causal_attention_backward, (const Tensor& qkv, double scale, const Tensor& y,
                                           const Tensor& lse, const Tensor& dy, GradTarget dqkv))
// Turns queries and keys by direction * angle: 1 forward, -1 backward.
SMX_CPU_KERNEL(rotary_turn,
               (const Tensor& x, std::int64_t first_position, double base, int direction, GradTarget y))
SMX_CPU_KERNEL(cached_attention_forward,
               (const Tensor& qkv, double scale, const Tensor& cache, std::int64_t position, const Tensor& y))
