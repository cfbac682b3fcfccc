#pragma once
// Random ops: pure functions of (key, step, element), see engine/philox.hpp.

#include "engine/dispatch.hpp"
#include "engine/philox.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

// y = x * mask / (1 - p), mask[i] = uniform(key, step, i) >= p. p in [0, 1); p == 0 returns x itself. The
// mask is drawn again in the backward pass: nothing is saved.
Variable dropout(const Variable& x, double p, RandomKey key, std::uint64_t step);

// Draws of their own: element i is random_uniform or random_normal of (key, step, i), made on the host so that
// every device sees the same bits. Not differentiable.
Tensor uniform(const Shape& shape, DType dtype, RandomKey key, std::uint64_t step, Device device = kCpu);
Tensor normal(const Shape& shape, DType dtype, RandomKey key, std::uint64_t step, Device device = kCpu);

}  // namespace simsmoe::ops

// y (+)= x * mask / (1 - p)
SMX_CPU_KERNEL(dropout_apply, (const Tensor& x, GradTarget y, double p, RandomKey key, std::uint64_t step))
