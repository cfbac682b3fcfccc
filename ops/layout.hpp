#pragma once
// Ops that move elements without changing them. Only reshape is free; tensors are contiguous, so the others
// copy.

#include <vector>

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

Variable reshape(const Variable& x, Shape shape);  // same number of elements; shares the memory
Variable permute(const Variable& x, const std::vector<int>& axes);  // y's axis i is x's axis axes[i]
Variable transpose(const Variable& x);                              // the last two axes
Variable concat(const Variables& parts, int axis);                  // equal in all other axes
Variable slice(const Variable& x, int axis, std::int64_t begin, std::int64_t end);  // [begin, end) along axis
Variable broadcast_to(const Variable& x, Shape shape);  // NumPy rules; backward sums

}  // namespace simsmoe::ops
