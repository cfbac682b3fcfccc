#pragma once
// Elementwise functions of one tensor. A new one is a struct in functors.hpp (and its name in the variant
// there), a line here, a line in unary.cpp and a line in tests/ops/unary_cases.cpp.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"
#include "ops/functors.hpp"

namespace simsmoe::ops {

// x: any float shape -> same shape
Variable relu(const Variable& x);       // max(x, 0); slope 0 at 0
Variable gelu(const Variable& x);       // x * Phi(x), exact: Phi(x) = (1 + erf(x / sqrt 2)) / 2
Variable gelu_tanh(const Variable& x);  // x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2
Variable silu(const Variable& x);       // x * sigmoid(x)
Variable sigmoid(const Variable& x);    // 1 / (1 + exp(-x)), without overflow
Variable tanh(const Variable& x);
Variable exp(const Variable& x);
Variable expm1(const Variable& x);       // exp(x) - 1, exact near 0
Variable normal_cdf(const Variable& x);  // Phi(x) = (1 + erf(x / sqrt 2)) / 2
Variable log(const Variable& x);         // -inf at 0, NaN below
Variable sqrt(const Variable& x);        // slope infinite at 0
Variable square(const Variable& x);
Variable softplus(const Variable& x);  // log(1 + exp(x)), without overflow
Variable abs(const Variable& x);       // slope 0 at 0
Variable neg(const Variable& x);
Variable scale(const Variable& x, double factor, double offset = 0.0);  // factor * x + offset
Variable cast(const Variable& x, DType dtype);  // to another float dtype; backward casts the gradient back

}  // namespace simsmoe::ops

// x, y, dy: one shape and dtype; `saved` is y where the function's kSlopeFromY says so, otherwise x.
SMX_KERNEL(unary_forward, (const UnaryFunction& function, const Tensor& x, const Tensor& y))
SMX_KERNEL(unary_backward,
           (const UnaryFunction& function, const Tensor& saved, const Tensor& dy, GradTarget dx))
// Converts between float dtypes: y = x, or y += x.
SMX_KERNEL(cast_into, (const Tensor& x, GradTarget y))
