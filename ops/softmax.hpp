#pragma once
// Softmax and its relatives: along the last axis, which is fastest, along another, or over several together.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"
#include "ops/axes.hpp"

namespace simsmoe::ops {

// y[..., j] = exp(x[..., j] - max) / sum_i exp(x[..., i] - max)
Variable softmax(const Variable& x, const Axes& axes = -1);  // x: [..., n] float, n >= 1 -> [..., n]

// y[..., j] = x[..., j] - logsumexp(x[..., :])
Variable log_softmax(const Variable& x, const Axes& axes = -1);  // x: [..., n] float, n >= 1 -> [..., n]

// y[...] = max + log sum_i exp(x[..., i] - max), and max itself where that is infinite; the axes are removed, or kept with
// size 1.
// x: [..., n] float, n >= 1 -> [...]
Variable logsumexp(const Variable& x, const Axes& axes = -1, bool keep = false);

}  // namespace simsmoe::ops

// x, y, dx, dy: [rows, n]; lse, dlse: [rows].
SMX_KERNEL(softmax_forward, (const Tensor& x, const Tensor& y))
SMX_KERNEL(softmax_backward, (const Tensor& y, const Tensor& dy, GradTarget dx))
SMX_KERNEL(log_softmax_forward, (const Tensor& x, const Tensor& y))
SMX_KERNEL(log_softmax_backward, (const Tensor& y, const Tensor& dy, GradTarget dx))
SMX_KERNEL(logsumexp_forward, (const Tensor& x, const Tensor& lse))
SMX_KERNEL(logsumexp_backward, (const Tensor& x, const Tensor& dlse, GradTarget dx))
