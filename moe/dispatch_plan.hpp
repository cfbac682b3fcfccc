#pragma once
// Which copy of which token goes to which row of which expert: integers only, made once per layer and forward
// pass. The ops that carry the plan out (gather_tokens, grouped_matmul, combine_tokens) know nothing of
// routers.

#include "ops/routing.hpp"

namespace simsmoe::moe {

struct DispatchPlan {
  ops::Partition partition;  // rows sorted by expert, stable in the flat number n * K + j of a copy
  Tensor counts;             // i64 [E] on the host: choices per expert before any was dropped
  std::int64_t dropped = 0;  // choices that found their expert full
};

// C = ceil(factor * copies / E), at most all copies, with `factor` as the decimal number that it is written as and no
// rounding on the way: 0.55 * 100 is 55, which in double is a little more. factor > 0; copies = K * N
std::int64_t capacity(double factor, std::int64_t copies, std::int64_t num_experts);

// Without a capacity (factor 0) every choice is kept. With one, an expert takes the first
// C = ceil(factor * K * N / E) of its choices in flat order, so token by token and within a token the first
// choice first; the rest are dropped: they contribute 0 and the weights of the kept ones are not
// renormalised. experts: i32 [N, K], -1 = not chosen
DispatchPlan make_plan(const Tensor& experts, std::int64_t num_experts, double capacity_factor = 0.0);

}  // namespace simsmoe::moe
