#pragma once
// A part of a model that the backward pass may compute again (ops/recompute.hpp), with its context.

#include <functional>

#include "nn/context.hpp"

namespace simsmoe::nn {

using Branch = std::function<Variable(const Variable& x, ForwardContext& ctx)>;

// branch(x, ctx), its activations dropped and computed again where ctx.recompute asks for it. Losses that it adds to the
// context keep their gradients; metrics and observations are those of the first pass. What the branch refers to must
// outlive the backward pass.
Variable recomputed(const Variable& x, ForwardContext& ctx, const Branch& branch);

}  // namespace simsmoe::nn
