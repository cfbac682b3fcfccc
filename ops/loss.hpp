#pragma once
// Losses on logits.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

inline constexpr std::int64_t kNoIgnoreIndex = INT64_MIN;

enum class Reduction : std::uint8_t { none, mean, sum };

struct CrossEntropyOptions {
  std::int64_t ignore_index = kNoIgnoreIndex;
  Reduction reduction = Reduction::mean;
  double label_smoothing = 0.0;  // in [0, 1]: this share of a target is spread evenly over all classes
  Tensor class_weights = {};     // [V], dtype of the logits; undefined for 1
};

// Softmax and negative log-likelihood in one, in nats. With p = softmax(logits[r]), t = targets[r], weights w
// and smoothing s, a row has the loss
//   -(1 - s) w[t] log p[t] - s / V sum_c w[c] log p[c]
// and rows whose target is ignore_index have 0. The mean divides by the sum of w[t] over the rows that count:
// by their number without weights.
// logits: [..., V] float, targets: i32 or i64 [...] -> [] or, for Reduction::none, [...]. bf16 logits give an
// f32 loss. Throws when a target is outside [0, V), and the mean when no row counts.
Variable cross_entropy(const Variable& logits, const Tensor& targets, const CrossEntropyOptions& options);
Variable cross_entropy(const Variable& logits, const Tensor& targets,
                       std::int64_t ignore_index = kNoIgnoreIndex);

// mean((a - b)^2) over all elements; throws when there is none. a, b: the same shape -> []; bf16 operands
// give an f32 loss.
Variable mse(const Variable& a, const Variable& b);

}  // namespace simsmoe::ops

// logits, dlogits: [N, V]; targets: [N]; max, sum: [N] in acc_t; loss, dloss: in acc_t, [N] without reduction
// and [] with one. Of a row that counts, max is the largest logit and sum that of exp(logits - max); the rest
// of both is garbage.
SMX_CPU_KERNEL(cross_entropy_forward,
               (const Tensor& logits, const Tensor& targets, const ops::CrossEntropyOptions& options,
                const Tensor& max, const Tensor& sum, const Tensor& loss))
SMX_CPU_KERNEL(cross_entropy_backward,
               (const Tensor& logits, const Tensor& targets, const ops::CrossEntropyOptions& options,
                const Tensor& max, const Tensor& sum, const Tensor& dloss, GradTarget dlogits))
// a, b, da: [...]; loss, dloss: [] in acc_t. The gradient to b is the one to a with a and b exchanged.
SMX_CPU_KERNEL(mse_forward, (const Tensor& a, const Tensor& b, const Tensor& loss))
SMX_CPU_KERNEL(mse_backward, (const Tensor& a, const Tensor& b, const Tensor& dloss, GradTarget da))
