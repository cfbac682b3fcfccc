#pragma once
// Sums, means, variances, norms, extrema and running sums. Sums accumulate in acc_t, in an order that depends
// on the shape alone.
//
// Axes are one, {several} or Axes::all(); what is reduced is removed, or kept with size 1.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"
#include "ops/axes.hpp"

namespace simsmoe::ops {

Variable sum(const Variable& x, const Axes& axes = Axes::all(), bool keep = false);
Variable mean(const Variable& x, const Axes& axes = Axes::all(), bool keep = false);

// The gradient goes to the first extremum, in the order of memory. A NaN is beyond all numbers, so that it is
// noticed.
Variable max(const Variable& x, const Axes& axes = Axes::all(), bool keep = false);
Variable min(const Variable& x, const Axes& axes = Axes::all(), bool keep = false);

// sum((x - mean)^2) / (n - correction) over n > correction elements: correction 1 estimates the variance
// that they are a sample of, 0 is their own.
Variable var(const Variable& x, const Axes& axes = Axes::all(), bool keep = false, double correction = 1.0);

// sqrt(sum(x^2)), in a wider type where a square overflows or underflows. The gradient at 0
// is 0: x / norm has no limit there, and 0 is a subgradient.
Variable l2_norm(const Variable& x, const Axes& axes = Axes::all(), bool keep = false);

// All but sum and l2_norm throw when there is nothing to reduce.

// y[..., j, ...] = sum over i <= j of x[..., i, ...]
Variable cumsum(const Variable& x, int axis);

}  // namespace simsmoe::ops

namespace simsmoe {
enum class Extremum : std::uint8_t { max, min };
}  // namespace simsmoe

// x, dx: [outer, n, inner]; y, dy: [outer, inner]. y = factor * sum over n
SMX_CPU_KERNEL(sum_forward, (const Tensor& x, AxisView view, double factor, const Tensor& y))
SMX_CPU_KERNEL(sum_backward, (const Tensor& dy, AxisView view, double factor, GradTarget dx))
// where: i64 [outer, inner], the index of the extremum along n
SMX_CPU_KERNEL(extremum_forward,
               (Extremum extremum, const Tensor& x, AxisView view, const Tensor& y, const Tensor& where))
SMX_CPU_KERNEL(extremum_backward, (const Tensor& dy, const Tensor& where, AxisView view, GradTarget dx))
// y = factor * sum over n of (x - mean)^2; mean: [outer, inner] f64
SMX_CPU_KERNEL(var_forward,
               (const Tensor& x, AxisView view, double factor, const Tensor& mean, const Tensor& y))
// dx = 2 * factor * (x - mean) * dy
SMX_CPU_KERNEL(var_backward, (const Tensor& x, const Tensor& mean, const Tensor& dy, AxisView view,
                              double factor, GradTarget dx))
// norm: [outer, inner] f64, which y rounds: below the normal numbers of f32 it has more digits
SMX_CPU_KERNEL(l2_norm_forward, (const Tensor& x, AxisView view, const Tensor& norm, const Tensor& y))
SMX_CPU_KERNEL(l2_norm_backward,
               (const Tensor& x, const Tensor& norm, const Tensor& dy, AxisView view, GradTarget dx))
// y[o, j, i] = sum of x[o, k, i] over k <= j, or over k >= j from the end
SMX_CPU_KERNEL(cumsum, (const Tensor& x, AxisView view, bool from_end, GradTarget y))
