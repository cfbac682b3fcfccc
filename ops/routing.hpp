#pragma once
// The integer and gather/scatter side of a mixture of experts. These ops take plain Tensors for what is not
// differentiable and know nothing of routers. N tokens, K choices per token, E experts, M <= N * K kept
// copies.
//
// A copy of token n for its j-th choice has the flat number n * K + j. `order` lists the kept copies sorted
// by expert, stable; `position` is its inverse.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

struct TopK {
  Variable values;  // [N, K] in descending order
  Tensor indices;   // i32 [N, K]
};

// The k largest of each row, in descending order; equal values: the lower index first. NaN counts as
// smallest. x: [N, E] float, 1 <= k <= E. The gradient of a value goes to the element that it came from.
TopK topk(const Variable& x, std::int64_t k);

// counts[e] = number of entries of `experts` equal to e; -1 (dropped) is not counted. experts: i32 [...] ->
// i64 [E]
Tensor expert_histogram(const Tensor& experts, std::int64_t num_experts);

struct Partition {
  Tensor offsets;   // i64 [E + 1] on the host: expert e owns rows offsets[e] .. offsets[e + 1]
  Tensor order;     // i32 [M]: row -> flat number of the copy
  Tensor position;  // i32 [N, K]: copy -> row, -1 when dropped
};

// Sorts copies by expert, stable in the flat number (a counting sort). experts: i32 [N, K], -1 = dropped.
Partition stable_partition(const Tensor& experts, std::int64_t num_experts);

// y[r] = x[order[r] / K]. x: [N, D] -> [M, D]. Backward is combine_tokens with unit weights.
Variable gather_tokens(const Variable& x, const Partition& plan);

// y[n] = sum_j weights[n, j] * h[position[n, j]], dropped copies contribute 0. h: [M, D], weights: [N, K] ->
// [N, D]. Backward to h is gather_tokens scaled by the weights; to weights[n, j] it is dy[n] . h[position[n,
// j]].
Variable combine_tokens(const Variable& h, const Variable& weights, const Partition& plan);

}  // namespace simsmoe::ops
