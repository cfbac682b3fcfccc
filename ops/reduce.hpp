#pragma once
// Sums, means and maxima. Sums accumulate in acc_t, in an order that depends on the shape alone.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

Variable sum(const Variable& x);                               // [...] -> [] (rank 0)
Variable mean(const Variable& x);                              // [...] -> []; throws when x is empty
Variable sum(const Variable& x, int axis, bool keep = false);  // that axis removed, or kept with size 1
Variable mean(const Variable& x, int axis, bool keep = false);
// The gradient goes to the first maximum. A NaN is larger than all numbers, so that it is noticed.
Variable max(const Variable& x, int axis, bool keep = false);

}  // namespace simsmoe::ops

namespace simsmoe {
// A tensor seen from one of its axes: element (o, j, i) lies at (o * n + j) * inner + i.
struct AxisView {
  std::int64_t outer, n, inner;
};
}  // namespace simsmoe

// x, dx: [outer, n, inner]; y, dy: [outer, inner]. y = factor * sum over n
SMX_CPU_KERNEL(sum_forward, (const Tensor& x, AxisView view, double factor, const Tensor& y))
SMX_CPU_KERNEL(sum_backward, (const Tensor& dy, AxisView view, double factor, GradTarget dx))
// where: i64 [outer, inner], the index of the maximum along n
SMX_CPU_KERNEL(max_forward, (const Tensor& x, AxisView view, const Tensor& y, const Tensor& where))
SMX_CPU_KERNEL(max_backward, (const Tensor& dy, const Tensor& where, AxisView view, GradTarget dx))
