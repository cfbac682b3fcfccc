#pragma once
// What the engine itself computes on elements, where the tensors live: from one type to another, for which
// Tensor::to(DType) is the door, and the sum of gradients that a tape is given.

#include "engine/dispatch.hpp"

// y[i] = x[i] in the type of y, as static_cast has it: floats are rounded, or cut to whole numbers. Any two of the six.
SMX_KERNEL(convert, (const Tensor& x, const Tensor& y))
// y[i] += x[i]. One float type, any shapes of one size; the sum is taken in acc_t.
SMX_KERNEL(add_into, (const Tensor& x, const Tensor& y))
