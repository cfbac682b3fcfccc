#pragma once
// Losses on logits.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

inline constexpr std::int64_t kNoIgnoreIndex = INT64_MIN;

// Softmax and negative log-likelihood in one: mean over the counted rows of logsumexp(logits[r]) - logits[r,
// target[r]], in nats. logits: [N, V] float, targets: i32 or i64 [N] -> []. Rows whose target is ignore_index
// do not count; throws when none counts or a target is outside [0, V). bf16 logits give an f32 loss.
Variable cross_entropy(const Variable& logits, const Tensor& targets,
                       std::int64_t ignore_index = kNoIgnoreIndex);

// mean((a - b)^2) over all elements. a, b: the same shape -> []
Variable mse(const Variable& a, const Variable& b);

}  // namespace simsmoe::ops
