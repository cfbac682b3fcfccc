#pragma once
// Random ops: pure functions of (key, step, element), see engine/philox.hpp. `first` is the number of the first element
// among those of the step: parts of a batch that are computed apart draw what the whole would have drawn.

#include "engine/dispatch.hpp"
#include "engine/philox.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

// y = x * mask / (1 - p), mask[i] = uniform(key, step, first + i) >= p. p in [0, 1); p == 0 returns x itself. The
// mask is drawn again in the backward pass: nothing is saved.
Variable dropout(const Variable& x, double p, RandomKey key, std::uint64_t step, std::uint64_t first = 0);

// Draws of their own: element i is random_uniform or random_normal of (key, step, first + i), rounded to the dtype (float).
// Not differentiable.
Tensor uniform(const Shape& shape, DType dtype, RandomKey key, std::uint64_t step, Device device = kCpu,
               std::uint64_t first = 0);
Tensor normal(const Shape& shape, DType dtype, RandomKey key, std::uint64_t step, Device device = kCpu,
              std::uint64_t first = 0);

}  // namespace simsmoe::ops

// y (+)= x * mask / (1 - p)
SMX_KERNEL(dropout_apply,
           (const Tensor& x, GradTarget y, double p, RandomKey key, std::uint64_t step, std::uint64_t first))
SMX_KERNEL(uniform_fill, (const Tensor& y, RandomKey key, std::uint64_t step, std::uint64_t first))
SMX_KERNEL(normal_fill, (const Tensor& y, RandomKey key, std::uint64_t step, std::uint64_t first))
