#pragma once
// Rotary position embedding: Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding".

#include "engine/dispatch.hpp"
#include "ops/heads.hpp"

namespace simsmoe::ops {

// The pairs (c, c + C/2) of the named heads at position t are turned by the angle
// (first_position + t) * base^(-2c / C); the other heads of the tensor pass unchanged. C even.
// turned.x: [B, T, ..., C] -> same shape
Variable rotary(const Heads& turned, std::int64_t first_position = 0, double base = 10000.0);

// The queries and keys of qkv [B, T, 3, H, C] -> same shape
Variable rotary(const Variable& qkv, std::int64_t first_position = 0, double base = 10000.0);

}  // namespace simsmoe::ops

// y: the shape of x.x. Turns the heads of x by direction * angle, 1 forward and -1 backward, and copies the
// others.
SMX_CPU_KERNEL(rotary_turn,
               (const HeadSlice& x, std::int64_t first_position, double base, int direction, GradTarget y))
