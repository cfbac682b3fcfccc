#pragma once
// Ops that read rows or elements by number. Backward passes add into the chosen places in a fixed order: no
// atomics. Indices are i32 or i64; one outside its range throws, naming it.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

// y[..., :] = weight[ids[...], :]. weight: [V, D], ids: [...] -> [..., D]
Variable embedding(const Variable& weight, const Tensor& ids);

// y[i, ...] = x[indices[i], ...]. x: [n, ...], indices: [m] -> [m, ...]
Variable index_select(const Variable& x, const Tensor& indices);

// y[..., j] = x[..., indices[..., j]]. x: [..., n], indices: [..., k] with the same leading axes -> [..., k]
Variable take_along_last(const Variable& x, const Tensor& indices);

}  // namespace simsmoe::ops

// Throws "[op] indices[i] = v is outside [0, size)" for the first such index.
SMX_CPU_KERNEL(check_indices, (std::string_view op, const Tensor& indices, std::int64_t size))
// x, dx: [n, D], indices: [m], y, dy: [m, D].
SMX_CPU_KERNEL(select_rows_forward, (const Tensor& x, const Tensor& indices, const Tensor& y))
SMX_CPU_KERNEL(select_rows_backward, (const Tensor& dy, const Tensor& indices, GradTarget dx))
// x, dx: [rows, n], indices, y, dy: [rows, k].
SMX_CPU_KERNEL(take_along_last_forward, (const Tensor& x, const Tensor& indices, const Tensor& y))
SMX_CPU_KERNEL(take_along_last_backward, (const Tensor& dy, const Tensor& indices, GradTarget dx))
