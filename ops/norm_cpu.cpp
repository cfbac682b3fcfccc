#include "engine/math.hpp"
#include "ops/cpu_sums.hpp"
#include "ops/norm.hpp"

// One thread owns a row and reads it from the first cache after the first pass. Gradients of the parameters
// are column sums over fixed blocks of rows (ops/cpu_sums.hpp).

namespace simsmoe::cpu {

namespace {

// The values of an optional [n] parameter in the type of the arithmetic; `missing` everywhere when undefined.
template <class T>
std::vector<acc_t<T>> values_or(const Tensor& parameter, std::int64_t n, acc_t<T> missing) {
  std::vector<acc_t<T>> values(static_cast<std::size_t>(n), missing);
  if (parameter.defined()) std::copy_n(parameter.data<T>(), n, values.begin());
  return values;
}

}  // namespace

void layer_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                        const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  const std::int64_t n = x.size(-1), rows = mean.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const std::vector<A> weights = values_or<T>(weight, n, 1), biases = values_or<T>(bias, n, 0);
    const A *w = weights.data(), *b = biases.data();
    const T* from = x.data<T>();
    T* to = y.data<T>();
    A *means = mean.data<A>(), *rstds = rstd.data<A>();
    const A epsilon = static_cast<A>(eps), inverse_n = A{1} / static_cast<A>(n);
    parallel_rows(rows, n, [&](std::int64_t row) {
      const T* xr = from + row * n;
      T* yr = to + row * n;
      A sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t j = 0; j < n; ++j) sum += static_cast<A>(xr[j]);
      const A m = sum * inverse_n;
      // From the differences, not as E[x^2] - m^2: that would cancel when the mean is large.
#pragma omp simd reduction(+ : squares)
      for (std::int64_t j = 0; j < n; ++j) {
        const A d = static_cast<A>(xr[j]) - m;
        squares += d * d;
      }
      const A r = 1 / math::sqrt(squares * inverse_n + epsilon);
#pragma omp simd
      for (std::int64_t j = 0; j < n; ++j)
        yr[j] = static_cast<T>((static_cast<A>(xr[j]) - m) * r * w[j] + b[j]);
      means[row] = m;
      rstds[row] = r;
    });
  });
}

void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                         const Tensor& dy, GradTarget dx) {
  const std::int64_t n = x.size(-1), rows = mean.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const std::vector<A> weights = values_or<T>(weight, n, 1);
    const A *w = weights.data(), *means = mean.data<A>(), *rstds = rstd.data<A>();
    const T *xs = x.data<T>(), *dys = dy.data<T>();
    T* to = dx.buffer.data<T>();
    const A inverse_n = A{1} / static_cast<A>(n);
    parallel_rows(rows, n, [&](std::int64_t row) {
      const T *xr = xs + row * n, *dyr = dys + row * n;
      T* dxr = to + row * n;
      const A m = means[row], r = rstds[row];
      A sum_g = 0, sum_gn = 0;  // g = dy * weight, n = (x - m) r
#pragma omp simd reduction(+ : sum_g, sum_gn)
      for (std::int64_t j = 0; j < n; ++j) {
        const A g = static_cast<A>(dyr[j]) * w[j];
        sum_g += g;
        sum_gn += g * (static_cast<A>(xr[j]) - m);
      }
      const A mean_g = sum_g * inverse_n, slope = sum_gn * inverse_n * r * r;
#pragma omp simd
      for (std::int64_t j = 0; j < n; ++j) {
        const A g = static_cast<A>(dyr[j]) * w[j];
        write_grad(dxr[j], r * (g - mean_g - (static_cast<A>(xr[j]) - m) * slope), dx.accumulate);
      }
    });
  });
}

void layer_norm_backward_weight(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& dy,
                                GradTarget dweight) {
  const std::int64_t n = x.size(-1), rows = mean.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const A *means = mean.data<A>(), *rstds = rstd.data<A>();
    const T *xs = x.data<T>(), *dys = dy.data<T>();
    sum_columns<T>(rows, n, dweight, [&](std::int64_t row, A* sums) {
      const T *xr = xs + row * n, *dyr = dys + row * n;
      const A m = means[row], r = rstds[row];
#pragma omp simd
      for (std::int64_t j = 0; j < n; ++j)
        sums[j] += static_cast<A>(dyr[j]) * ((static_cast<A>(xr[j]) - m) * r);
    });
  });
}

void layer_norm_backward_bias(const Tensor& dy, GradTarget dbias) {
  const std::int64_t n = dy.size(-1), rows = dy.shape().outer(-1);
  for_float_dtype(dy.dtype(), [&]<class T>() {
    const T* dys = dy.data<T>();
    sum_columns<T>(rows, n, dbias, [&](std::int64_t row, acc_t<T>* sums) {
      const T* dyr = dys + row * n;
#pragma omp simd
      for (std::int64_t j = 0; j < n; ++j) sums[j] += static_cast<acc_t<T>>(dyr[j]);
    });
  });
}

void rms_norm_forward(const Tensor& x, const Tensor& weight, double eps, const Tensor& y,
                      const Tensor& rstd) {
  const std::int64_t n = x.size(-1), rows = rstd.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const std::vector<A> weights = values_or<T>(weight, n, 1);
    const A* w = weights.data();
    const T* from = x.data<T>();
    T* to = y.data<T>();
    A* rstds = rstd.data<A>();
    const A epsilon = static_cast<A>(eps), inverse_n = A{1} / static_cast<A>(n);
    parallel_rows(rows, n, [&](std::int64_t row) {
      const T* xr = from + row * n;
      T* yr = to + row * n;
      A squares = 0;
#pragma omp simd reduction(+ : squares)
      for (std::int64_t j = 0; j < n; ++j) squares += static_cast<A>(xr[j]) * static_cast<A>(xr[j]);
      const A r = 1 / math::sqrt(squares * inverse_n + epsilon);
#pragma omp simd
      for (std::int64_t j = 0; j < n; ++j) yr[j] = static_cast<T>(static_cast<A>(xr[j]) * r * w[j]);
      rstds[row] = r;
    });
  });
}

void rms_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& rstd, const Tensor& dy,
                       GradTarget dx) {
  const std::int64_t n = x.size(-1), rows = rstd.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const std::vector<A> weights = values_or<T>(weight, n, 1);
    const A *w = weights.data(), *rstds = rstd.data<A>();
    const T *xs = x.data<T>(), *dys = dy.data<T>();
    T* to = dx.buffer.data<T>();
    const A inverse_n = A{1} / static_cast<A>(n);
    parallel_rows(rows, n, [&](std::int64_t row) {
      const T *xr = xs + row * n, *dyr = dys + row * n;
      T* dxr = to + row * n;
      const A r = rstds[row];
      A sum_gx = 0;  // g = dy * weight
#pragma omp simd reduction(+ : sum_gx)
      for (std::int64_t j = 0; j < n; ++j) sum_gx += static_cast<A>(dyr[j]) * w[j] * static_cast<A>(xr[j]);
      const A slope = sum_gx * inverse_n * r * r;
#pragma omp simd
      for (std::int64_t j = 0; j < n; ++j)
        write_grad(dxr[j], r * (static_cast<A>(dyr[j]) * w[j] - static_cast<A>(xr[j]) * slope),
                   dx.accumulate);
    });
  });
}

void rms_norm_backward_weight(const Tensor& x, const Tensor& rstd, const Tensor& dy, GradTarget dweight) {
  const std::int64_t n = x.size(-1), rows = rstd.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const A* rstds = rstd.data<A>();
    const T *xs = x.data<T>(), *dys = dy.data<T>();
    sum_columns<T>(rows, n, dweight, [&](std::int64_t row, A* sums) {
      const T *xr = xs + row * n, *dyr = dys + row * n;
      const A r = rstds[row];
#pragma omp simd
      for (std::int64_t j = 0; j < n; ++j) sums[j] += static_cast<A>(dyr[j]) * (static_cast<A>(xr[j]) * r);
    });
  });
}

}  // namespace simsmoe::cpu
