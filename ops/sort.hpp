#pragma once
// The order of the elements along an axis. Equal values keep their order: the lower index first, whichever
// way is sorted. NaN comes last, whichever way too, so that it is never among the best.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

struct TopK {
  Variable values;  // the shape of x with k along the axis, in descending order
  Tensor indices;   // i32, the same shape: where along the axis each value was
};

// The k largest along an axis. x: float, 1 <= k <= its size there. The gradient of a value goes to the
// element that it came from.
TopK topk(const Variable& x, std::int64_t k, int axis = -1);

struct Sorted {
  Variable values;  // the shape of x
  Tensor indices;   // i32, the same shape: values = gather(x, axis, indices)
};

// All of an axis in order. The gradient of a value goes to the element that it came from.
Sorted sort(const Variable& x, int axis = -1, bool descending = false);
// The indices alone, of any dtype.
Tensor argsort(const Tensor& x, int axis = -1, bool descending = false);

}  // namespace simsmoe::ops

// x: [..., n]; values, indices: [..., k].
SMX_CPU_KERNEL(topk_forward, (const Tensor& x, const Tensor& values, const Tensor& indices))
// x, values, indices: [..., n]; values undefined for indices alone.
SMX_CPU_KERNEL(sort_forward, (const Tensor& x, bool descending, const Tensor& values, const Tensor& indices))
