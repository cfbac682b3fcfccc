#pragma once
// Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): memory for time. What a part of a model computed on the
// way is not kept; the backward pass computes it again.

#include <functional>

#include "engine/tape.hpp"

namespace simsmoe::ops {

// f(x), recorded as one node that keeps x alone. f is called once here and once in the backward pass, where it must do
// the same to the bit: it may depend on parameters (leaves other than x, whose gradients arrive as always, also when they
// are results) and constants, and must not change anything. x: float, any shape -> the outputs of f, any number of float
// Variables
Variables recompute(const Variable& x, const std::function<Variables(const Variable& x)>& f);

}  // namespace simsmoe::ops
