#pragma once
// Where a NaN or an infinity comes from: forward and backward are run again on a tape that is watched.

#include <functional>
#include <string>

#include "nn/scope.hpp"

namespace simsmoe::app {

// "parameter NAME" of the first that is not finite; empty when all are.
std::string first_non_finite(const nn::ParameterStore& store);

// Looks at the parameters, then at the output of every op in the order of computation, then at every gradient
// in the order of the backward pass, and describes the first tensor that is not finite; empty when all are.
// `loss` computes the scalar loss anew; gradients are left cleared.
std::string first_non_finite(const nn::ParameterStore& store, const std::function<Variable()>& loss);

}  // namespace simsmoe::app
