#pragma once
// Ops that read rows or elements by number. Backward passes add into the chosen places in a fixed order: no
// atomics. Indices are i32 or i64; one outside its range throws, naming it.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

// y[..., :] = weight[ids[...], :]. weight: [V, D], ids: [...] -> [..., D]
Variable embedding(const Variable& weight, const Tensor& ids);

// y[i, ...] = x[indices[i], ...]. x: [n, ...], indices: [m] -> [m, ...]
Variable index_select(const Variable& x, const Tensor& indices);

// y[..., j] = x[..., indices[..., j]]. x: [..., n], indices: [..., k] with the same leading axes -> [..., k]
Variable take_along_last(const Variable& x, const Tensor& indices);

}  // namespace simsmoe::ops
