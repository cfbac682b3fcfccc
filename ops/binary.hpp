#pragma once
// Elementwise functions of two tensors. Shapes broadcast as in NumPy: aligned at the last axis, a size of 1
// or a missing axis repeats; the backward pass sums over what was repeated. Both operands have one dtype.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

Variable add(const Variable& a, const Variable& b);
Variable sub(const Variable& a, const Variable& b);
Variable mul(const Variable& a, const Variable& b);
Variable div(const Variable& a, const Variable& b);

}  // namespace simsmoe::ops
