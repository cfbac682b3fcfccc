#pragma once
// Ops that move elements without changing them. Tensors are contiguous, so that all but reshape copy.

#include <vector>

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

Variable reshape(const Variable& x, Shape shape);  // same number of elements; shares the memory
Variable permute(const Variable& x, const std::vector<int>& axes);  // y's axis i is x's axis axes[i]
Variable transpose(const Variable& x);                              // the last two axes
Variable concat(const Variables& parts, int axis);                  // equal in all other axes
Variable slice(const Variable& x, int axis, std::int64_t begin, std::int64_t end);  // [begin, end) along axis
Variable broadcast_to(const Variable& x, Shape shape);  // NumPy rules; backward sums

}  // namespace simsmoe::ops

// dy: [...] -> dx: as many elements, in any shape.
SMX_CPU_KERNEL(reshape_backward, (const Tensor& dy, GradTarget dx))
// x: [d0, d1, ...] -> y: [d(axes[0]), d(axes[1]), ...]; axes not negative.
SMX_CPU_KERNEL(permute, (const Tensor& x, const std::vector<int>& axes, GradTarget y))
// parts: [..., n_i, ...] -> y: [..., sum of n_i, ...]
SMX_CPU_KERNEL(concat, (const std::vector<Tensor>& parts, int axis, const Tensor& y))
// y[..., i, ...] = x[..., begin + i, ...] for every i that y has along axis.
SMX_CPU_KERNEL(slice_forward, (const Tensor& x, int axis, std::int64_t begin, GradTarget y))
// dx[..., begin + i, ...] = dy[..., i, ...], zero elsewhere.
SMX_CPU_KERNEL(slice_backward, (const Tensor& dy, int axis, std::int64_t begin, GradTarget dx))
// x: [...] -> y: a shape that x broadcasts to; backward sums dy over what was repeated.
SMX_CPU_KERNEL(broadcast_forward, (const Tensor& x, const Tensor& y))
SMX_CPU_KERNEL(broadcast_backward, (const Tensor& dy, GradTarget dx))
