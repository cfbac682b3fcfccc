#pragma once
// The elementwise functions of one tensor, each as a value and a slope that compile for both processors. The
// kernels (unary_cpu.cpp, unary_cuda.cu) instantiate one loop per struct in the variant at the end.
//
// slope() is given y where kSlopeFromY says so, otherwise x: that tensor is kept for the backward pass. From
// y it is cheaper for exp-like functions; and y is usually kept anyway by the op that reads it.
//
// A is float or double. No branches, only selections: the loops run in vector lanes. (Power, Sin and Cos call
// libm, one element at a time.)
//
// Here: the activations. The elementary functions are in functors_elementary.hpp.

#include <variant>

#include "ops/functors_elementary.hpp"

namespace simsmoe {

namespace functors {

// s = 1 / (1 + exp(-x)) and its slope s (1 - s), by e = exp(-|x|): nothing overflows, and 1 - s is not
// computed from a rounded s.
template <class A>
struct Sigmoidal {
  A value, slope;
};
template <class A>
SMX_HOST_DEVICE inline Sigmoidal<A> sigmoid(A x) {
  const A e = math::exp(x < 0 ? x : -x), r = 1 / (1 + e);
  return {x < 0 ? e * r : r, e * r * r};
}

struct Relu {
  static constexpr bool kSlopeFromY = true;
  // NaN stays NaN, so that it is noticed
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return x < 0 ? A(0) : x;
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A y) const {
    return y > 0 ? A(1) : A(0);
  }
};

// The standard normal distribution at x: Phi(x) = (1 + erf(x / sqrt 2)) / 2 and its density.
template <class A>
struct NormalAt {
  A cdf, density;
};
SMX_HOST_DEVICE inline NormalAt<double> normal(double x) {
  return {(1 + math::erf(x * 0.70710678118654752440)) / 2, math::exp(-x * x / 2) * 0.39894228040143267794};
}
// f32 shares one exponential: Phi(-a) = exp(-a^2 / 2) t p(t), t = 1 / (1 + 0.3 a), a >= 0, with p fitted to a
// relative error of 1.3e-7 over [0, 13.5].
SMX_HOST_DEVICE inline NormalAt<float> normal(float x) {
  const float t = 1 / (1 + 0.3f * (x < 0 ? -x : x)), e = math::exp(-x * x / 2);
  float p = 0.0359324391f;
  p = p * t - 0.158279141f;
  p = p * t + 0.208212338f;
  p = p * t - 0.0553993848f;
  p = p * t + 0.129472253f;
  p = p * t + 0.0996365352f;
  p = p * t + 0.120798517f;
  p = p * t + 0.119626379f;
  const float tail = e * t * p;
  return {x < 0 ? tail : 1 - tail, e * 0.398942280f};
}

// y = x Phi(x), dy/dx = Phi(x) + x Phi'(x)
struct Gelu {
  static constexpr bool kSlopeFromY = false;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return x * normal(x).cdf;
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    const NormalAt<A> at = normal(x);
    return at.cdf + x * at.density;
  }
};

// s = (1 + tanh u) / 2 = sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3); y = x s, dy/dx = s + x s' 2u'
struct GeluTanh {
  static constexpr bool kSlopeFromY = false;
  static constexpr double kTwoRootTwoOverPi = 1.59576912160573071176, kCubic = 0.044715;
  template <class A>
  SMX_HOST_DEVICE static Sigmoidal<A> gate(A x) {
    return sigmoid(A(kTwoRootTwoOverPi) * x * (1 + A(kCubic) * x * x));
  }
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return x * gate(x).value;
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    const Sigmoidal<A> s = gate(x);
    const A b = s.slope > 0 ? x : A(0);  // x^2 overflows where the slope of the gate has long been exactly 0
    return s.value + x * s.slope * A(kTwoRootTwoOverPi) * (1 + A(3 * kCubic) * b * b);
  }
};

// y = x s, s = sigmoid(x); dy/dx = s + x s'
struct Silu {
  static constexpr bool kSlopeFromY = false;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return x * sigmoid(x).value;
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    const Sigmoidal<A> s = sigmoid(x);
    return s.value + x * s.slope;
  }
};

struct Sigmoid {
  static constexpr bool kSlopeFromY = true;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return sigmoid(x).value;
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A y) const {
    return y * (1 - y);
  }
};

struct Tanh {
  static constexpr bool kSlopeFromY = true;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return math::tanh(x);
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A y) const {
    return 1 - y * y;
  }
};

struct NormalCdf {
  static constexpr bool kSlopeFromY = false;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return normal(x).cdf;
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    return normal(x).density;
  }
};

// max(x, 0) + log(1 + e), e = exp(-|x|). With u = 1 + e rounded, log(u) e / (u - 1) keeps the digits of a
// small e that the addition loses (Kahan).
struct Softplus {
  static constexpr bool kSlopeFromY = false;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    const A e = math::exp(x < 0 ? x : -x), u = 1 + e, lost = u - 1;
    const A log1p = lost > 0 ? math::log(u) * (e / lost) : e;
    return (x < 0 ? A(0) : x) + log1p;
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    return sigmoid(x).value;
  }
};

}  // namespace functors

using UnaryFunction =
    std::variant<functors::Relu, functors::Gelu, functors::GeluTanh, functors::Silu, functors::Sigmoid,
                 functors::Tanh, functors::Softplus, functors::NormalCdf, functors::Exp, functors::Expm1,
                 functors::Log, functors::Sqrt, functors::Rsqrt, functors::Square, functors::Power,
                 functors::Sin, functors::Cos, functors::Abs, functors::Sign, functors::Clamp,
                 functors::MaximumWith, functors::MinimumWith, functors::Scale, functors::DivideBy,
                 functors::DivideInto>;

}  // namespace simsmoe
