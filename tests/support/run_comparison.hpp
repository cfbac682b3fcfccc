#pragma once
// How the checks compare what two runs of a case left behind.

#include <string>
#include <vector>

#include "tests/support/op_checks.hpp"

namespace simsmoe::testing {

// max |value| of those that are finite; 0 when none is.
double largest_magnitude(const std::vector<double>& values);

// Two NaN are the same whatever their bits: which one comes out of a loop depends on how it was vectorised.
bool same_bits(const Tensor& a, const Tensor& b);
// "the values differ", or which gradient does; empty when nothing does.
std::string first_bit_difference(const Run& a, const Run& b);

// max |a - b| / max |b| over a value and its gradients, and a problem where it exceeds the tolerance.
// Infinities and NaN must stand at the same places.
Outcome compare(const Run& run, const Run& reference, double tolerance);

// The same for a reference in f64 whose numbers may leave the range of the dtype: where the rounded reference
// is infinite any infinity or NaN will do, and what it flushes to zero counts as zero.
Outcome compare_within_range(const Run& run, const Run& reference, double tolerance);

}  // namespace simsmoe::testing
