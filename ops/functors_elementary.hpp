#pragma once
// The elementary functions among the functors of functors.hpp, which says what a functor is: exponentials,
// roots and powers, signs and bounds, and arithmetic with a number that is no tensor.

#include "engine/math.hpp"

namespace simsmoe::functors {

struct Exp {
  static constexpr bool kSlopeFromY = true;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return math::exp(x);
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A y) const {
    return y;
  }
};

// exp(x) - 1 without the cancellation near 0. In f32 (u - 1) x / log(u) with u = exp(x) rounded (Kahan).
SMX_HOST_DEVICE inline double expm1(double x) { return ::expm1(x); }
SMX_HOST_DEVICE inline float expm1(float x) {
  const float u = math::exp(x), inner = (u - 1) * x / math::log(u);
  const float bounded = u < 1e-7f ? -1.0f : (u > 1e8f ? u : inner);
  return u == 1 ? x : (x != x ? x : bounded);
}

struct Expm1 {
  static constexpr bool kSlopeFromY = true;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return expm1(x);
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A y) const {
    return y + 1;
  }
};

struct Log {
  static constexpr bool kSlopeFromY = false;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return math::log(x);
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    return 1 / x;
  }
};

struct Sqrt {
  static constexpr bool kSlopeFromY = true;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return math::sqrt(x);
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A y) const {
    return A(0.5) / y;
  }
};

struct Square {
  static constexpr bool kSlopeFromY = false;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return x * x;
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    return 2 * x;
  }
};

// y = x^(-1/2), dy/dx = -y^3 / 2
struct Rsqrt {
  static constexpr bool kSlopeFromY = true;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return 1 / math::sqrt(x);
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A y) const {
    return A(-0.5) * y * y * y;
  }
};

// y = x^p, dy/dx = p x^(p - 1); x^0 is 1 everywhere, so its slope is 0 at 0 as well, where 0 x^(-1) is NaN.
// f32 goes through f64: p rounded to f32 would cost log(x) units in the last place of the power.
struct Power {
  static constexpr bool kSlopeFromY = false;
  double exponent = 1.0;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return static_cast<A>(math::pow(static_cast<double>(x), exponent));
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    const double power = math::pow(static_cast<double>(x), exponent - 1);
    return exponent == 0 ? A(0) : static_cast<A>(exponent * power);
  }
};

struct Sin {
  static constexpr bool kSlopeFromY = false;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return math::sin(x);
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    return math::cos(x);
  }
};

struct Cos {
  static constexpr bool kSlopeFromY = false;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return math::cos(x);
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    return -math::sin(x);
  }
};

struct Abs {
  static constexpr bool kSlopeFromY = false;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return x < 0 ? -x : x;
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    return x > 0 ? A(1) : (x < 0 ? A(-1) : A(0));
  }
};

// -1, 0 or 1; NaN stays.
struct Sign {
  static constexpr bool kSlopeFromY = true;  // it needs neither
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return x > 0 ? A(1) : (x < 0 ? A(-1) : x);
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A) const {
    return 0;
  }
};

// min(max(x, low), high); the slope is 1 from bound to bound, these included.
struct Clamp {
  static constexpr bool kSlopeFromY = false;
  double low = 0.0, high = 0.0;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return x < A(low) ? A(low) : (x > A(high) ? A(high) : x);
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    return x >= A(low) ? (x <= A(high) ? A(1) : A(0)) : A(0);
  }
};

// The larger or the smaller of x and a number; x has half of the slope where both are equal.
struct MaximumWith {
  static constexpr bool kSlopeFromY = false;
  double number = 0.0;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return math::maximum(x, A(number));
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    return x < A(number) ? A(0) : (x == A(number) ? A(0.5) : A(1));
  }
};

struct MinimumWith {
  static constexpr bool kSlopeFromY = false;
  double number = 0.0;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return math::minimum(x, A(number));
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    return x > A(number) ? A(0) : (x == A(number) ? A(0.5) : A(1));
  }
};

struct Scale {
  static constexpr bool kSlopeFromY = true;  // it needs neither; y costs no memory of its own
  double factor = 1.0, offset = 0.0;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return A(factor) * x + A(offset);
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A) const {
    return A(factor);
  }
};

struct DivideBy {
  static constexpr bool kSlopeFromY = true;  // it needs neither
  double divisor = 1.0;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return x / A(divisor);
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A) const {
    return 1 / A(divisor);
  }
};

// y = n / x, dy/dx = -n / x^2; as -(n / x) / x, since x^2 leaves the range of the type long before n / x^2.
struct DivideInto {
  static constexpr bool kSlopeFromY = false;
  double numerator = 1.0;
  template <class A>
  SMX_HOST_DEVICE A value(A x) const {
    return A(numerator) / x;
  }
  template <class A>
  SMX_HOST_DEVICE A slope(A x) const {
    return -(A(numerator) / x) / x;
  }
};

}  // namespace simsmoe::functors
