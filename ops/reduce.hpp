#pragma once
// Sums, means and extremes. Sums accumulate in acc_t, in a fixed order for a given thread count.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

Variable sum(const Variable& x);                               // [...] -> [] (rank 0)
Variable mean(const Variable& x);                              // [...] -> []; throws when x is empty
Variable sum(const Variable& x, int axis, bool keep = false);  // that axis removed, or kept with size 1
Variable mean(const Variable& x, int axis, bool keep = false);
Variable max(const Variable& x, int axis, bool keep = false);  // the gradient goes to the first maximum

}  // namespace simsmoe::ops
