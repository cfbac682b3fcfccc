#pragma once
// What every two rows of a matrix have to do with each other.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

// y[i, j] = sum_c (x[i, c] - x[j, c])^2, from the differences: exactly 0 for equal rows, exactly symmetric, and the same
// for two rows wherever they stand. (|x_i|^2 + |x_j|^2 - 2 x_i . x_j is a matrix product, and none of these.)
// x: [n, p] -> [n, n]
Variable squared_distances(const Variable& x);

// The lower median of the entries above zero of the strict upper triangle, i < j; 1 where there is none. Not
// differentiable: it picks an element. x: float [n, n] -> [] of its dtype
Tensor median_above_diagonal(const Tensor& x);

}  // namespace simsmoe::ops

// x, dx: [n, p]; y, dy: [n, n]
SMX_CPU_KERNEL(squared_distances_forward, (const Tensor& x, const Tensor& y))
SMX_CPU_KERNEL(squared_distances_backward, (const Tensor& x, const Tensor& dy, GradTarget dx))
// y: []
SMX_CPU_KERNEL(median_above_diagonal, (const Tensor& x, const Tensor& y))
