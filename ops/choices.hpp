#pragma once
// What routers and similarity learning do with choices as integers: which experts each token chose, with -1 for a choice
// that was not made. Tensors only: integers have no gradient. E is the number of experts, N of tokens, K of choices each.

#include "engine/dispatch.hpp"
#include "engine/philox.hpp"

namespace simsmoe::ops {

// y[n, e] = 1 where token n chose e, else 0. experts: i32 [N, K] -> dtype (float, or u8) [N, E]
Tensor choice_mask(const Tensor& experts, std::int64_t num_experts, DType dtype);

// y[g, e] = how often e was chosen by the tokens of group g, `length` tokens each: by the first `columns` choices of a
// token, or by all when that is 0. experts: i32 [N, K], length divides N -> dtype (float) [N / length, E]
Tensor choice_counts(const Tensor& experts, std::int64_t num_experts, std::int64_t length,
                     std::int64_t columns, DType dtype);

// A copy in which the choices of an expert beyond its first `capacity`, in flat order, are not made. i32 [N, K] -> [N, K]
Tensor limit_choices(const Tensor& experts, std::int64_t num_experts, std::int64_t capacity);

// A copy in which choices are not made where the mask is 0. experts: i32 [N, K], mask: u8 [N, K] -> i32 [N, K]
Tensor keep_choices(const Tensor& experts, const Tensor& mask);

// From the experts' point of view to the tokens': y[n, e] = e where e took token n, else -1. taken: i32 [E, C], the
// tokens that each expert took; N tokens -> i32 [N, E]
Tensor choices_of_tokens(const Tensor& taken, std::int64_t tokens);

// Where the copies stand when all experts run on all tokens, expert after expert: y[n * K + j] = experts[n, j] * N + n,
// -1 for a choice that was not made. experts: i32 [N, K] -> i64 [N * K]
Tensor rows_by_expert(const Tensor& experts);

// The choice of each token and its best other one. chosen: i32 [N, 1], best: i32 [N, 2], the two best -> i32 [N, 2]
Tensor with_runner_up(const Tensor& chosen, const Tensor& best);

// Pairs a < b in the order (0, 1), (0, 2), ..., (1, 2), ...: the number of pair (a, b), and how many there are.
constexpr std::int64_t pair_number(std::int64_t a, std::int64_t b, std::int64_t num_experts) {
  return a * (2 * num_experts - a - 1) / 2 + b - a - 1;
}
constexpr std::int64_t pair_count(std::int64_t num_experts) { return num_experts * (num_experts - 1) / 2; }

// How many tokens chose both experts of each pair. experts: i32 [N, K] -> dtype (float) [pair_count(E)]
Tensor count_pairs(const Tensor& experts, std::int64_t num_experts, DType dtype);

// The tokens that chose both a and b, in order. experts: i32 [N, K] -> i64 [n]
Tensor tokens_of_pair(const Tensor& experts, std::int64_t a, std::int64_t b);
// Of more than `most` those that drew the smallest numbers random_bits(key, step, first + n).
Tensor tokens_of_pair(const Tensor& experts, std::int64_t a, std::int64_t b, std::int64_t most, RandomKey key,
                      std::uint64_t step, std::uint64_t first = 0);

// Where the copies of these tokens for one expert are: position[n, j] with experts[n, j] = expert, -1 where a token did
// not choose it or found it full. experts, position: i32 [N, K], tokens: i64 [n] -> i64 [n]
Tensor rows_of_choices(const Tensor& experts, const Tensor& position, const Tensor& tokens,
                       std::int64_t expert);

}  // namespace simsmoe::ops

SMX_CPU_KERNEL(choice_mask, (const Tensor& experts, const Tensor& y))
SMX_CPU_KERNEL(choice_counts,
               (const Tensor& experts, std::int64_t length, std::int64_t columns, const Tensor& y))
SMX_CPU_KERNEL(limit_choices,
               (const Tensor& experts, std::int64_t num_experts, std::int64_t capacity, const Tensor& y))
SMX_CPU_KERNEL(keep_choices, (const Tensor& experts, const Tensor& mask, const Tensor& y))
SMX_CPU_KERNEL(choices_of_tokens, (const Tensor& taken, const Tensor& y))
SMX_CPU_KERNEL(rows_by_expert, (const Tensor& experts, const Tensor& y))
SMX_CPU_KERNEL(with_runner_up, (const Tensor& chosen, const Tensor& best, const Tensor& y))
SMX_CPU_KERNEL(count_pairs, (const Tensor& experts, std::int64_t num_experts, const Tensor& y))
// Allocates its result, whose size it finds.
SMX_CPU_KERNEL(tokens_of_pair, (const Tensor& experts, std::int64_t a, std::int64_t b, std::int64_t most,
                                RandomKey key, std::uint64_t step, std::uint64_t first, Tensor& tokens))
SMX_CPU_KERNEL(rows_of_choices, (const Tensor& experts, const Tensor& position, const Tensor& tokens,
                                 std::int64_t expert, const Tensor& y))
