#pragma once
// The integer and gather/scatter side of a mixture of experts. These ops take plain Tensors for what is not
// differentiable and know nothing of routers. N tokens, K choices each, E experts, M <= N * K kept copies.
//
// A copy of token n for its j-th choice has the flat number n * K + j. `order` lists the kept copies sorted
// by expert, stable; `position` is its inverse.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"
#include "ops/sort.hpp"  // topk, with which routers choose

namespace simsmoe::ops {

// counts[e] = number of entries of `experts` equal to e; -1 (dropped) is not counted.
// experts: i32 [...] -> i64 [E]
Tensor expert_histogram(const Tensor& experts, std::int64_t num_experts);

struct Partition {
  Tensor offsets;   // i64 [E + 1] on the host: expert e owns rows offsets[e] .. offsets[e + 1]
  Tensor order;     // i32 [M]: row -> flat number of the copy
  Tensor position;  // i32 [N, K]: copy -> row, -1 when dropped
};

// Sorts copies by expert, stable in the flat number (a counting sort). experts: i32 [N, K], -1 = dropped.
Partition stable_partition(const Tensor& experts, std::int64_t num_experts);
// The same where the histogram is known, and on the host: nothing is read back. counts: i64 [E]
Partition stable_partition(const Tensor& experts, const Tensor& counts);

// y[r] = x[order[r] / K]. x: [N, D] -> [M, D]. Backward is combine_tokens with unit weights.
Variable gather_tokens(const Variable& x, const Partition& plan);

// y[n] = sum_j weights[n, j] * h[position[n, j]]; dropped copies contribute 0.
// h: [M, D], weights: [N, K] -> [N, D]
// Backward to h is gather_tokens scaled by the weights; to weights[n, j] it is dy[n] . h[position[n, j]].
Variable combine_tokens(const Variable& h, const Variable& weights, const Partition& plan);

}  // namespace simsmoe::ops

// experts: i32 [...]; counts: i64 [E]. Throws when an entry is outside of [-1, E).
SMX_CPU_KERNEL(expert_histogram, (const Tensor& experts, const Tensor& counts))
// experts, position: i32 [N, K]; offsets: i64 [E + 1] on the host; order: i32 [M]. Throws where they disagree.
SMX_CPU_KERNEL(stable_partition,
               (const Tensor& experts, const Tensor& offsets, const Tensor& order, const Tensor& position))
// y[r] = weights[order[r]] * x[order[r] / K]. x: [N, D]; weights, position: [N, K], weights undefined for 1;
// order: [M]; y: [M, D].
SMX_CPU_KERNEL(gather_rows,
               (const Tensor& x, const Tensor& weights, const ops::Partition& plan, GradTarget y))
// y[n] = sum_j weights[n, j] * h[position[n, j]]. h: [M, D]; weights: [N, K] or undefined for 1; y: [N, D].
SMX_CPU_KERNEL(combine_rows,
               (const Tensor& h, const Tensor& weights, const ops::Partition& plan, GradTarget y))
// dweights[n, j] = dy[n] . h[position[n, j]], 0 when dropped. h: [M, D]; dy: [N, D]; dweights: [N, K].
SMX_CPU_KERNEL(combine_weights_backward,
               (const Tensor& h, const Tensor& dy, const ops::Partition& plan, GradTarget dweights))
