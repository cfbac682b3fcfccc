#include <cmath>

#include "engine/math.hpp"
#include "ops/cpu_sums.hpp"
#include "ops/optimizer.hpp"

// One pass over parameter, gradient and state; elements are independent. What does not depend on the element
// is computed once, in double.

namespace simsmoe::cpu {

namespace {

template <class A>
struct AdamFactors {
  A beta1, rest1, beta2, rest2, eps, step_size, root_scale, gradient_scale, shrink, coupled;

  explicit AdamFactors(const ops::AdamStep& s)
      : beta1(static_cast<A>(s.beta1)),
        rest1(static_cast<A>(1.0 - s.beta1)),
        beta2(static_cast<A>(s.beta2)),
        rest2(static_cast<A>(1.0 - s.beta2)),
        eps(static_cast<A>(s.eps)),
        step_size(static_cast<A>(s.lr / (1.0 - std::pow(s.beta1, static_cast<double>(s.step))))),
        root_scale(static_cast<A>(1.0 / std::sqrt(1.0 - std::pow(s.beta2, static_cast<double>(s.step))))),
        gradient_scale(static_cast<A>(s.gradient_scale)),
        shrink(static_cast<A>(s.coupled_decay ? 1.0 : 1.0 - s.lr * s.weight_decay)),
        coupled(static_cast<A>(s.coupled_decay ? s.weight_decay : 0.0)) {}
};

template <class T>
void adam_elements(T* p, const T* g, T* m, T* v, std::int64_t n, const AdamFactors<acc_t<T>> f) {
  using A = acc_t<T>;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const A value = static_cast<A>(p[i]);
    const A gradient = static_cast<A>(g[i]) * f.gradient_scale + f.coupled * value;
    const A first = f.beta1 * static_cast<A>(m[i]) + f.rest1 * gradient;
    const A second = f.beta2 * static_cast<A>(v[i]) + f.rest2 * gradient * gradient;
    m[i] = static_cast<T>(first);
    v[i] = static_cast<T>(second);
    p[i] =
        static_cast<T>(f.shrink * value - f.step_size * first / (math::sqrt(second) * f.root_scale + f.eps));
  }
}

template <class T>
void sgd_elements(T* p, const T* g, T* u, std::int64_t n, const ops::SgdStep& s) {
  using A = acc_t<T>;
  const A lr = static_cast<A>(s.lr), momentum = static_cast<A>(s.momentum),
          decay = static_cast<A>(s.weight_decay);
  const A scale = static_cast<A>(s.gradient_scale);
  for (std::int64_t i = 0; i < n; ++i) {
    const A value = static_cast<A>(p[i]);
    const A gradient = static_cast<A>(g[i]) * scale + decay * value;
    A direction = gradient;
    if (u != nullptr) {
      const A velocity = momentum * static_cast<A>(u[i]) + gradient;
      u[i] = static_cast<T>(velocity);
      direction = s.nesterov ? gradient + momentum * velocity : velocity;
    }
    p[i] = static_cast<T>(value - lr * direction);
  }
}

template <class T>
double squares(const T* x, std::int64_t n) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) {
    const double value = static_cast<double>(static_cast<acc_t<T>>(x[i]));
    sum += value * value;
  }
  return sum;
}

}  // namespace

void adam_update(const Tensor& parameter, const Tensor& gradient, const Tensor& m, const Tensor& v,
                 const ops::AdamStep& step) {
  for_float_dtype(parameter.dtype(), [&]<class T>() {
    const AdamFactors<acc_t<T>> factors(step);
    parallel_elements(parameter.numel(), [&](std::int64_t begin, std::int64_t end) {
      adam_elements(parameter.data<T>() + begin, gradient.data<T>() + begin, m.data<T>() + begin,
                    v.data<T>() + begin, end - begin, factors);
    });
  });
}

void sgd_update(const Tensor& parameter, const Tensor& gradient, const Tensor& momentum,
                const ops::SgdStep& step) {
  for_float_dtype(parameter.dtype(), [&]<class T>() {
    parallel_elements(parameter.numel(), [&](std::int64_t begin, std::int64_t end) {
      sgd_elements(parameter.data<T>() + begin, gradient.data<T>() + begin,
                   momentum.defined() ? momentum.data<T>() + begin : nullptr, end - begin, step);
    });
  });
}

void sum_of_squares(const Tensor& x, double& sum) {
  for_float_dtype(x.dtype(), [&]<class T>() {
    const T* values = x.data<T>();
    sum = sum_blocks(x.numel(), [&](std::int64_t begin, std::int64_t end) {
      return squares(values + begin, end - begin);
    });
  });
}

}  // namespace simsmoe::cpu
