#pragma once
// Elementwise functions of one tensor. A new one is a struct in functors.hpp or functors_elementary.hpp (and
// its name in the variant of the former), a line here, a line in unary.cpp and a line in
// tests/ops/unary_cases.cpp.

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
Variable sign(const Variable& x);      // -1, 0 or 1; slope 0
Variable neg(const Variable& x);
Variable rsqrt(const Variable& x);  // 1 / sqrt(x): infinite at 0, NaN below
Variable sin(const Variable& x);
Variable cos(const Variable& x);
Variable scale(const Variable& x, double factor, double offset = 0.0);  // factor * x + offset

// x^exponent, as std::pow: a negative x has powers of whole exponents only, otherwise NaN; x^0 = 1.
Variable pow(const Variable& x, double exponent);
// min(max(x, low), high); slope 1 from bound to bound, these included. Each bound may be infinite;
// low <= high.
Variable clamp(const Variable& x, double low, double high);

// Arithmetic with a number: what binary.hpp has for two tensors, without making a tensor of the number.
Variable add(const Variable& x, double number);
Variable sub(const Variable& x, double number);
Variable sub(double number, const Variable& x);
Variable mul(const Variable& x, double number);
Variable div(const Variable& x, double number);
Variable div(double number, const Variable& x);
Variable maximum(const Variable& x, double number);  // half of the slope where both are equal
Variable minimum(const Variable& x, double number);

Variable cast(const Variable& x, DType dtype);  // to another float dtype; backward casts the gradient back

}  // namespace simsmoe::ops

// x, y, dy: one shape and dtype; `saved` is y where the function's kSlopeFromY says so, otherwise x.
SMX_KERNEL(unary_forward, (const UnaryFunction& function, const Tensor& x, const Tensor& y))
SMX_KERNEL(unary_backward,
           (const UnaryFunction& function, const Tensor& saved, const Tensor& dy, GradTarget dx))
// Converts between float dtypes: y = x, or y += x.
SMX_KERNEL(cast_into, (const Tensor& x, GradTarget y))
