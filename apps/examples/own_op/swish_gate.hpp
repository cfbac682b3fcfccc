#pragma once
// The gate of SwiGLU (Shazeer 2020, "GLU Variants Improve Transformer"), fused: one pass forward, and nothing
// is saved but the inputs.

#include "engine/tape.hpp"

namespace own {

// y = a * sigmoid(a) * b. a, b: the same shape, float -> the same shape.
simsmoe::Variable swish_gate(const simsmoe::Variable& a, const simsmoe::Variable& b);

}  // namespace own
