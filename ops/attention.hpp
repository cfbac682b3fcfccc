#pragma once
// Attention: one family for grouped queries, sliding windows, relative positions with memory, padding, and
// generation with a cache. Tiled: a matrix of T x S scores never exists in memory, nor one of T x S distances.

#include <optional>

#include "engine/dispatch.hpp"
#include "ops/heads.hpp"

namespace simsmoe::ops {

// Query t stands at the position p_t = position + t among the keys, key s at s; d = p_t - s is the distance
// from the query back to the key.
struct AttentionOptions {
  double scale = 0.0;  // of the scores; 0: 1 / sqrt(C)

  // What a query sees. A query that sees nothing gives y = 0 and passes no gradient.
  bool causal = true;                         // d >= 0 only
  bool current = true;                        // false: d >= 1, not the key at the query's own position
  std::int64_t window = 0;                    // n: d < n, without the current position d <= n; 0: any
  std::optional<std::int64_t> position = {};  // p_0; not given: S - T, the last query stands at the last key
  // Sequence b has the keys begin[b] <= s < end[b]: begin for padding on the left, end for padding on the
  // right. i32 or i64 [B], cut to [0, S]; undefined: 0 and S. What lies outside is never read, it may be NaN;
  // its gradient is 0. Queries are not masked: what those of a padded position give is for the caller to drop.
  Tensor begin = {}, end = {};

  // The term by distance, (q + relative_bias) . r_d. Row i of `relative`, [R, C] for all heads or [R, H, C],
  // is r of the distance first_distance + i. It must hold every distance that T, S, causal, current and window
  // let a query see: to see less far, set a window.
  Variable relative = {};
  std::int64_t first_distance = 0;
  Variable query_bias = {}, relative_bias = {};  // u and w: [H, C], each optional; w only with `relative`
};

//   score_ts = scale ((q_t + u) . k_s + (q_t + w) . r_d)
//   y_t = sum over the keys s that t sees of softmax_s(score_ts) v_s
//
// q: [B, T, H, C], k, v: [B, S, G, C], G divides H: query head h reads key head h / (H / G) -> [B, T, H * C].
// The gradients of q, k and v go straight into the tensors that they are slices of. Queries are taken 64 at a
// time: a key that none of them sees is not read, NaN in one that some see may reach them all.
//
//   {}                                                      causal self-attention
//   {.window = n}                                           position t sees t - n + 1 .. t
//   {.relative = r, .query_bias = u, .relative_bias = w}    Transformer-XL; S = memory + T, r of 0 .. S - 1
//   {.current = false, .window = L, .relative = r, .first_distance = 1}    the L positions before t: S = L + T
//   {.causal = false, .end = lengths}                       classification of sequences padded on the right
Variable attention(const Heads& q, const Heads& k, const Heads& v, const AttentionOptions& options = {});

// Causal self-attention on one packed projection. qkv: [B, T, 3, H, C], scale as above -> [B, T, H * C]
Variable causal_attention(const Variable& qkv, double scale = 0.0);

// Attention of new positions to a cache, for generation; inference only: there is no backward.
// Copies k and v, [B, T, G, C], into cache [2, B, max_length, G, C] at `position`; query t then attends to the
// cache as to keys of which it stands at position + t. Causal, and options.position is not to be given. Keys
// behind the new ones are never read.
Tensor cached_attention(const Heads& q, const Heads& k, const Heads& v, const Tensor& cache,
                        std::int64_t position, const AttentionOptions& options = {});

// The same on one packed projection. qkv: [B, T, 3, H, C] -> [B, T, H * C]
Tensor cached_attention(const Tensor& qkv, const Tensor& cache, std::int64_t position, double scale = 0.0);

}  // namespace simsmoe::ops

namespace simsmoe {

// What the kernels are told. Query t sees key s when nearest <= position + t - s <= farthest and
// begin[b] <= s < end[b]. nearest and farthest are distances that occur, or farthest = nearest - 1: none does.
struct AttentionSpec {
  HeadSlice q, k, v;
  Tensor begin = {}, end = {};                 // [B] i32 or i64, or undefined
  Tensor relative = {};                        // [R, C] or [R, H, C], or undefined
  Tensor query_bias = {}, relative_bias = {};  // [H, C], or undefined
  double scale = 1.0;
  std::int64_t position = 0, nearest = 0, farthest = 0, first_distance = 0;
};

// Where gradients go; an undefined buffer: not wanted. q, k and v have the shapes of spec.q.x, spec.k.x and
// spec.v.x, of which the kernel writes the slices alone. No two slices overlap in memory.
struct AttentionGradients {
  GradTarget q, k, v, relative, query_bias, relative_bias;
};

}  // namespace simsmoe

// y, dy: [B, T, H * C]; lse: [B, H, T], the logarithm of each row's sum of exponentials, -inf for a row that
// sees nothing, in the type that kernels compute in (f32 for bf16); undefined: not kept.
SMX_CPU_KERNEL(attention_forward, (const AttentionSpec& spec, const Tensor& y, const Tensor& lse))
SMX_CPU_KERNEL(attention_backward, (const AttentionSpec& spec, const Tensor& y, const Tensor& lse,
                                    const Tensor& dy, const AttentionGradients& gradients))
// cache[b, position + t, h] = x[b, t, h]. cache: [B, max_length, G, C]
SMX_CPU_KERNEL(append_heads, (const HeadSlice& x, const Tensor& cache, std::int64_t position))
