#pragma once
// Comparisons, which make masks (u8, 1 where it holds), and the choice by a mask. All operands broadcast as
// in NumPy (binary.hpp).
//
//   ops::where(ops::less(x.value(), limit), x, ops::scale(x, 0.1))   // limit: a Tensor, may be of rank 0

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"
#include "ops/broadcast.hpp"

namespace simsmoe::ops {

// a: [...], b: [...] of one dtype, any of the six -> u8, their common shape. Only not_equal holds where
// either is NaN. Comparisons have no gradient, hence Tensors.
Tensor less(const Tensor& a, const Tensor& b);
Tensor less_equal(const Tensor& a, const Tensor& b);
Tensor greater(const Tensor& a, const Tensor& b);
Tensor greater_equal(const Tensor& a, const Tensor& b);
Tensor equal(const Tensor& a, const Tensor& b);
Tensor not_equal(const Tensor& a, const Tensor& b);

// y = mask ? a : b. mask: u8 [...], 0 for b; a, b: float [...] -> the common shape of the three. What was not
// chosen has gradient 0, whatever arrives at y.
Variable where(const Tensor& mask, const Variable& a, const Variable& b);

}  // namespace simsmoe::ops

namespace simsmoe {
enum class Comparison : std::uint8_t { less, less_equal, equal, not_equal };
}  // namespace simsmoe

// a, b: [...]; mask: u8, their common shape.
SMX_CPU_KERNEL(compare, (Comparison comparison, const Tensor& a, const Tensor& b, const Tensor& mask))
// mask: u8, the shape of y; a, b: shapes that broadcast to it.
SMX_CPU_KERNEL(where_forward, (const Tensor& mask, const Tensor& a, const Tensor& b, const Tensor& y))
// The gradient of one operand, summed over its repeated axes. mask, dy: the shape of y.
SMX_CPU_KERNEL(where_backward, (const Tensor& mask, Operand operand, const BroadcastPlan& plan,
                                const Tensor& dy, GradTarget target))
