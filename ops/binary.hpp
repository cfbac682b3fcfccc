#pragma once
// Elementwise functions of two tensors. Shapes broadcast as in NumPy: aligned at the last axis, a size of 1
// or a missing axis repeats; the backward pass sums over what was repeated. Both operands have one dtype.
// With a number instead of a tensor: unary.hpp; as operators: operators.hpp.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"
#include "ops/broadcast.hpp"

namespace simsmoe::ops {

// a: [...], b: [...] -> their common shape
Variable add(const Variable& a, const Variable& b);
Variable sub(const Variable& a, const Variable& b);
Variable mul(const Variable& a, const Variable& b);
Variable div(const Variable& a, const Variable& b);
// NaN where either is NaN; where both are equal each has half of the gradient.
Variable maximum(const Variable& a, const Variable& b);
Variable minimum(const Variable& a, const Variable& b);

}  // namespace simsmoe::ops

namespace simsmoe {
enum class BinaryFunction : std::uint8_t { add, sub, mul, div, maximum, minimum };
}  // namespace simsmoe

SMX_CPU_KERNEL(binary_forward, (BinaryFunction function, const Tensor& a, const Tensor& b, const Tensor& y))
// The gradient of one operand, summed over its repeated axes. a and b may be undefined for add and sub, whose
// slopes do not depend on them.
SMX_CPU_KERNEL(binary_backward, (BinaryFunction function, Operand operand, const BroadcastPlan& plan,
                                 const Tensor& a, const Tensor& b, const Tensor& dy, GradTarget target))
