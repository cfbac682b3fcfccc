#pragma once
// Ops that read and write elements by number. What is written to in several places at once is summed in a
// fixed order: no atomics. Indices are i32 or i64; one outside its range throws, naming it.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"
#include "ops/axes.hpp"

namespace simsmoe::ops {

// y[..., :] = weight[ids[...], :]. weight: [V, D], ids: [...] -> [..., D]
Variable embedding(const Variable& weight, const Tensor& ids);

// y[..., i, ...] = x[..., indices[i], ...] along the axis. x: [..., n, ...], indices: [m] -> [..., m, ...].
// A Tensor may be of any dtype: rows of a table of integers.
Variable index_select(const Variable& x, const Tensor& indices, int axis = 0);
Tensor index_select(const Tensor& x, const Tensor& indices, int axis = 0);

// y[..., j] = x[..., indices[..., j]]. x: [..., n], indices: [..., k] with the same leading axes -> [..., k]
Variable take_along_last(const Variable& x, const Tensor& indices);

// y[i, j, ...] = x[index[i, j, ...], j, ...] for axis 0, and so for others: as many axes as x, and outside of
// the axis no larger than x -> the shape of index.
Variable gather(const Variable& x, int axis, const Tensor& index);

// x with y[index[i, j, ...], j, ...] += source[i, j, ...] for axis 0, and so for others: in a new tensor.
// source: the shape of index, which is as for gather -> the shape of x.
Variable scatter_add(const Variable& x, int axis, const Tensor& index, const Variable& source);

// y[..., j] = 1 where j = indices[...], else 0; a row of zeros where that is -1. -> [..., n] of any dtype
Tensor one_hot(const Tensor& indices, std::int64_t n, DType dtype = DType::f32);

// 0, 1, ..., n - 1, rounded to dtype (f32 holds whole numbers up to 2^24, bf16 up to 256).
Tensor arange(std::int64_t n, DType dtype = DType::i64, Device device = kCpu);

}  // namespace simsmoe::ops

// Throws "[op] indices[i] = v is outside [0, size)" for the first such index; on a device it is noted for whoever reads
// numbers next (engine/index_fault.hpp).
SMX_KERNEL(check_indices, (std::string_view op, const Tensor& indices, std::int64_t size))
// x, dx: [outer, n, inner], indices: [m], y, dy: [outer, m, inner]; the view is that of x.
SMX_CPU_KERNEL(select_forward, (const Tensor& x, AxisView view, const Tensor& indices, const Tensor& y))
SMX_CPU_KERNEL(select_backward, (const Tensor& dy, AxisView view, const Tensor& indices, GradTarget dx))
// x, dx: [rows, n], indices, y, dy: [rows, k].
SMX_CPU_KERNEL(take_along_last_forward, (const Tensor& x, const Tensor& indices, const Tensor& y))
SMX_CPU_KERNEL(take_along_last_backward, (const Tensor& dy, const Tensor& indices, GradTarget dx))
// y[index] = x along the axis. x: [...]; index, y: one shape, outside of the axis no larger than x.
SMX_CPU_KERNEL(gather_along, (const Tensor& x, const Tensor& index, int axis, GradTarget y))
// The transposed map: y[index] += source, over zeros or over what y holds.
SMX_CPU_KERNEL(scatter_along, (const Tensor& source, const Tensor& index, int axis, GradTarget y))
// Throws "[one_hot] indices[i] = v is outside [-1, n)" for the first such index. y: [..., n]
SMX_CPU_KERNEL(one_hot, (const Tensor& indices, const Tensor& y))
SMX_CPU_KERNEL(arange, (const Tensor& y))
