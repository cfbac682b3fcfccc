#pragma once
// From one element type to another, where the tensor lives. Tensor::to(DType) is the door.

#include "engine/dispatch.hpp"

// y[i] = x[i] in the type of y, as static_cast has it: floats are rounded, or cut to whole numbers. Any two of the six.
SMX_KERNEL(convert, (const Tensor& x, const Tensor& y))
