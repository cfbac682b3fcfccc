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

// mean((a - b)^2) over all elements; throws when there is none. a, b: the same shape -> []; bf16 operands
// give an f32 loss.
Variable mse(const Variable& a, const Variable& b);

}  // namespace simsmoe::ops

// logits, dlogits: [N, V]; targets: [N]; max, sum: [N] and loss, dloss: [] in acc_t. Of a row that counts,
// max is the largest logit and sum that of exp(logits - max); the rest of both is garbage.
SMX_CPU_KERNEL(cross_entropy_forward, (const Tensor& logits, const Tensor& targets, std::int64_t ignore_index,
                                       const Tensor& max, const Tensor& sum, const Tensor& loss))
SMX_CPU_KERNEL(cross_entropy_backward,
               (const Tensor& logits, const Tensor& targets, std::int64_t ignore_index, const Tensor& max,
                const Tensor& sum, const Tensor& dloss, GradTarget dlogits))
// a, b, da: [...]; loss, dloss: [] in acc_t. The gradient to b is the one to a with a and b exchanged.
SMX_CPU_KERNEL(mse_forward, (const Tensor& a, const Tensor& b, const Tensor& loss))
SMX_CPU_KERNEL(mse_backward, (const Tensor& a, const Tensor& b, const Tensor& dloss, GradTarget da))
