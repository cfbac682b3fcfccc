#pragma once
// Scalar functions for kernels of both processors. The f32 versions for the CPU are branch-free polynomials,
// which the compiler turns into vector code inside a loop; a call into libm would keep the loop scalar. f64
// goes to libm, so the numeric gradient checks see the true function. Greatest error measured over all
// floats: exp 1.0, tanh 1.4, erf 2.5, log 1.0 units in the last place (tests/engine/math_test.cpp). NaN, the
// infinities and the sign of zero come out as from libm. sin and cos are libm's in both: a reduction by pi/2
// that holds for every float is no loop of vectors. pow has f64 alone (functors_elementary.hpp says why).

#include <bit>
#include <cmath>
#include <cstdint>

#include "engine/host_device.hpp"

namespace simsmoe::math {

#if defined(__CUDA_ARCH__)
SMX_HOST_DEVICE inline float exp(float x) { return ::expf(x); }
SMX_HOST_DEVICE inline float log(float x) { return ::logf(x); }
SMX_HOST_DEVICE inline float tanh(float x) { return ::tanhf(x); }
SMX_HOST_DEVICE inline float erf(float x) { return ::erff(x); }
SMX_HOST_DEVICE inline float sqrt(float x) { return ::sqrtf(x); }
#else
// exp(x) = 2^n * exp(r) with n = round(x / ln 2) and |r| <= ln(2)/2. Overflows to infinity above 88.72;
// below -87.33 results are denormal, below -103.97 they are 0.
SMX_HOST_DEVICE inline float exp(float x) {
  const float clamped =
      x > -103.97208f ? (x < 88.72283f ? x : 88.72283f) : -103.97208f;  // NaN too becomes finite
  const float shifted =
      clamped * 1.44269504088896341f + 12582912.0f;  // adding 1.5 * 2^23 rounds to an integer
  const float n = shifted - 12582912.0f;
  float r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;  // ln 2 in two parts: the difference keeps all its bits
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // 2^n in two factors, as 2^128 and 2^-150 are no floats; the second product alone rounds
  const std::int32_t k = static_cast<std::int32_t>(n), half = k >> 1;
  const float a = std::bit_cast<float>((half + 127) << 23), b = std::bit_cast<float>((k - half + 127) << 23);
  const float y = p * a * b;
  const float bounded = x < -103.97208f ? 0.0f : (x > 88.72283f ? HUGE_VALF : y);
  return x != x ? x : bounded;
}

// tanh(x) = x + x^3 p(x^2) near 0, 1 - 2 / (exp(2x) + 1) elsewhere.
SMX_HOST_DEVICE inline float tanh(float x) {
  const float a = std::fabs(x), s = a * a;
  float p = -5.70498872745e-3f;
  p = p * s + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  const float small = a + a * s * p;
  const float big = 1.0f - 2.0f / (exp(2.0f * a) + 1.0f);
  return std::copysign(a < 0.625f ? small : big, x);
}

// erf(x) = x p(x^2) for |x| < 1; elsewhere 1 - t exp(q(t) - x^2) with t = 1 / (1 + |x|/2), the Chebyshev fit
// of erfc in Numerical Recipes, section 6.2.
SMX_HOST_DEVICE inline float erf(float x) {
  const float a = std::fabs(x), s = a * a;
  float p = 7.853861353153693e-5f;
  p = p * s - 8.010193625184903e-4f;
  p = p * s + 5.188327685732524e-3f;
  p = p * s - 2.685381193529856e-2f;
  p = p * s + 1.128358514861418e-1f;
  p = p * s - 3.761262582423300e-1f;
  p = p * s + 1.128379165726710e+0f;
  const float small = a * p;
  const float t = 1.0f / (1.0f + 0.5f * a);
  float q = 0.17087277f;
  q = q * t - 0.82215223f;
  q = q * t + 1.48851587f;
  q = q * t - 1.13520398f;
  q = q * t + 0.27886807f;
  q = q * t - 0.18628806f;
  q = q * t + 0.09678418f;
  q = q * t + 0.37409196f;
  q = q * t + 1.00002368f;
  q = q * t - 1.26551223f;
  const float big = 1.0f - t * exp(q - s);
  return std::copysign(a < 1.0f ? small : big, x);
}

// log(m * 2^e) = e ln 2 + log(m), m in [sqrt(1/2), sqrt(2)).
SMX_HOST_DEVICE inline float log(float x) {
  const bool subnormal = x < 1.17549435e-38f;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(subnormal ? x * 8388608.0f : x);  // 2^23
  const std::int32_t e = static_cast<std::int32_t>(bits - 0x3f3504f3u) >> 23;               // sqrt(1/2)
  const float m = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(e) << 23)) - 1.0f;
  const float n = static_cast<float>(subnormal ? e - 23 : e);
  const float s = m * m;
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const float y = m + (p * m * s + n * -2.12194440e-4f - 0.5f * s) + n * 0.693359375f;
  const float special = x < 0.0f ? std::bit_cast<float>(0x7fc00000) : (x > 3.40282347e38f ? x : y);
  return x != x ? x : (x == 0.0f ? -HUGE_VALF : special);
}

SMX_HOST_DEVICE inline float sqrt(float x) { return std::sqrt(x); }
#endif

SMX_HOST_DEVICE inline float sin(float x) { return ::sinf(x); }
SMX_HOST_DEVICE inline float cos(float x) { return ::cosf(x); }

SMX_HOST_DEVICE inline double exp(double x) { return ::exp(x); }
SMX_HOST_DEVICE inline double log(double x) { return ::log(x); }
SMX_HOST_DEVICE inline double tanh(double x) { return ::tanh(x); }
SMX_HOST_DEVICE inline double erf(double x) { return ::erf(x); }
SMX_HOST_DEVICE inline double sqrt(double x) { return ::sqrt(x); }
SMX_HOST_DEVICE inline double sin(double x) { return ::sin(x); }
SMX_HOST_DEVICE inline double cos(double x) { return ::cos(x); }
SMX_HOST_DEVICE inline double pow(double x, double exponent) { return ::pow(x, exponent); }

template <class T>
SMX_HOST_DEVICE T max(T a, T b) {
  return a < b ? b : a;
}
template <class T>
SMX_HOST_DEVICE T min(T a, T b) {
  return b < a ? b : a;
}

// The same, but NaN where either is NaN: max and min lose one in b.
template <class T>
SMX_HOST_DEVICE T maximum(T a, T b) {
  return b != b ? b : max(a, b);
}
template <class T>
SMX_HOST_DEVICE T minimum(T a, T b) {
  return b != b ? b : min(a, b);
}

}  // namespace simsmoe::math
