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

  AdamFactors(const ops::AdamStep& s, const ops::AdamSlot& slot, double scale)
      : beta1(static_cast<A>(s.beta1)),
        rest1(static_cast<A>(1.0 - s.beta1)),
        beta2(static_cast<A>(s.beta2)),
        rest2(static_cast<A>(1.0 - s.beta2)),
        eps(static_cast<A>(s.eps)),
        step_size(static_cast<A>(s.lr / (1.0 - std::pow(s.beta1, static_cast<double>(slot.step))))),
        root_scale(static_cast<A>(1.0 / std::sqrt(1.0 - std::pow(s.beta2, static_cast<double>(slot.step))))),
        gradient_scale(static_cast<A>(scale)),
        shrink(static_cast<A>(s.coupled_decay ? 1.0 : 1.0 - s.lr * slot.weight_decay)),
        coupled(static_cast<A>(s.coupled_decay ? slot.weight_decay : 0.0)) {}
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
void sgd_elements(T* p, const T* g, T* u, std::int64_t n, const ops::SgdStep& s, acc_t<T> decay,
                  acc_t<T> scale) {
  using A = acc_t<T>;
  const A lr = static_cast<A>(s.lr), momentum = static_cast<A>(s.momentum);
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

double value_of(const Tensor& scale) { return scale.defined() ? *scale.data<double>() : 1.0; }

}  // namespace

void adam_update(const std::vector<ops::AdamSlot>& slots, const ops::AdamStep& step,
                 const Tensor& gradient_scale) {
  const double scale = value_of(gradient_scale);
  if (!std::isfinite(scale)) return;
  for (const ops::AdamSlot& slot : slots)
    for_float_dtype(slot.parameter.dtype(), [&]<class T>() {
      const AdamFactors<acc_t<T>> factors(step, slot, scale);
      parallel_elements(slot.parameter.numel(), [&](std::int64_t begin, std::int64_t end) {
        adam_elements(slot.parameter.data<T>() + begin, slot.gradient.data<T>() + begin,
                      slot.m.data<T>() + begin, slot.v.data<T>() + begin, end - begin, factors);
      });
    });
}

void sgd_update(const std::vector<ops::SgdSlot>& slots, const ops::SgdStep& step,
                const Tensor& gradient_scale) {
  const double scale = value_of(gradient_scale);
  if (!std::isfinite(scale)) return;
  for (const ops::SgdSlot& slot : slots)
    for_float_dtype(slot.parameter.dtype(), [&]<class T>() {
      using A = acc_t<T>;
      parallel_elements(slot.parameter.numel(), [&](std::int64_t begin, std::int64_t end) {
        sgd_elements(slot.parameter.data<T>() + begin, slot.gradient.data<T>() + begin,
                     slot.momentum.defined() ? slot.momentum.data<T>() + begin : nullptr, end - begin, step,
                     static_cast<A>(slot.weight_decay), static_cast<A>(scale));
      });
    });
}

void global_norm(const std::vector<Tensor>& xs, const Tensor& norm) {
  double sum = 0.0;
  for (const Tensor& x : xs)
    for_float_dtype(x.dtype(), [&]<class T>() {
      const T* values = x.data<T>();
      sum += sum_blocks(x.numel(), [&](std::int64_t begin, std::int64_t end) {
        return squares(values + begin, end - begin);
      });
    });
  *norm.data<double>() = std::sqrt(sum);
}

}  // namespace simsmoe::cpu
