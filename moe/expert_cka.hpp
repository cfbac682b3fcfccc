#pragma once
// How alike the experts of a layer have become: a measurement, not a loss.

#include <vector>

#include "moe/experts.hpp"

namespace simsmoe::moe {

struct PairCka {
  std::int64_t a, b;    // experts, a < b
  std::int64_t tokens;  // that both were chosen for, and on which they were compared
  double value;  // debiased linear CKA of their outputs on those; about 0 when they have nothing in common
};

// All pairs that share at least min_tokens tokens, of which the first max_tokens are taken. Debiased, because the
// plain estimator is large for few tokens whatever the experts do; linear, because it depends on no bandwidth.
// tokens: [N, D]; choices: i32 [N, K]. Records nothing.
std::vector<PairCka> expert_cka(const Tensor& tokens, const Tensor& choices, const Experts& experts,
                                std::int64_t min_tokens = 16, std::int64_t max_tokens = 256);

}  // namespace simsmoe::moe
