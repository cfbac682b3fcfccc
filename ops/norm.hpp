#pragma once
// Normalisation along the last axis. Statistics are computed in acc_t and kept for the backward pass.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

// y = (x - mean) / sqrt(var + eps) * weight + bias, var biased (divided by D).
// x: [..., D]; weight, bias: [D], each may be undefined -> [..., D]
Variable layer_norm(const Variable& x, const Variable& weight, const Variable& bias, double eps = 1e-5);

// y = x / sqrt(mean(x^2) + eps) * weight. x: [..., D]; weight: [D] or undefined -> [..., D]
Variable rms_norm(const Variable& x, const Variable& weight, double eps = 1e-6);

}  // namespace simsmoe::ops
