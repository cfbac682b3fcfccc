#include <cmath>
#include <limits>

#include "engine/math.hpp"
#include "ops/cpu_sums.hpp"
#include "ops/norm.hpp"

// One thread owns a row and reads it from the first cache after the first pass. Gradients of the parameters
// are column sums over fixed blocks of rows (ops/cpu_sums.hpp). A row is a function of plain pointers: the
// compiler then sees that they do not change within its loops.

namespace simsmoe::cpu {

namespace {

// The values of an optional [n] parameter in the type of the arithmetic; `missing` everywhere when undefined.
template <class T>
std::vector<acc_t<T>> values_or(const Tensor& parameter, std::int64_t n, acc_t<T> missing) {
  std::vector<acc_t<T>> values(static_cast<std::size_t>(n), missing);
  if (parameter.defined()) std::copy_n(parameter.data<T>(), n, values.begin());
  return values;
}

template <class A>
struct RowStatistics {
  A mean, rstd;
};

// 1 / sqrt(mean((x - center)^2) + eps) of a row whose squares add up to `squares`. Where they overflow they
// are taken again in units of the largest difference, m; infinities among x keep the sum infinite.
template <class T, class A = acc_t<T>>
A reciprocal_deviation(const T* x, A center, A squares, std::int64_t n, A eps) {
  constexpr A kMost = std::numeric_limits<A>::max();
  const A count = static_cast<A>(n);
  if (squares <= kMost || squares != squares) return 1 / math::sqrt(squares / count + eps);
  A m = 0, shares = 0;
  for (std::int64_t j = 0; j < n; ++j) m = math::max(m, std::fabs(static_cast<A>(x[j]) - center));
  if (m > kMost) return 1 / math::sqrt(squares);
  for (std::int64_t j = 0; j < n; ++j) {
    const A share = (static_cast<A>(x[j]) - center) / m;
    shares += share * share;
  }
  return 1 / (m * math::sqrt(shares / count + eps / m / m));
}

// y = (x - mean) * rstd * weight + bias; returns the statistics.
template <class T, class A = acc_t<T>>
RowStatistics<A> layer_norm_row(const T* x, const A* weight, const A* bias, T* y, std::int64_t n, A eps) {
  A sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) sum += static_cast<A>(x[j]);
  const A mean = sum / static_cast<A>(n);
  // From the differences, not as E[x^2] - mean^2: that would cancel when the mean is large.
#pragma omp simd reduction(+ : squares)
  for (std::int64_t j = 0; j < n; ++j) {
    const A d = static_cast<A>(x[j]) - mean;
    squares += d * d;
  }
  const A rstd = reciprocal_deviation(x, mean, squares, n, eps);
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j)
    y[j] = static_cast<T>((static_cast<A>(x[j]) - mean) * rstd * weight[j] + bias[j]);
  return {mean, rstd};
}

// mean(g * n) * rstd with g = dy * weight and n = (x - mean) * rstd, from the sum of g * (x - mean) where
// that is finite: large x and large weights together overflow it.
template <class T, class A = acc_t<T>>
A mean_product(const T* x, const T* dy, const A* weight, RowStatistics<A> row, A sum_gx, std::int64_t n) {
  const A count = static_cast<A>(n);
  if (std::fabs(sum_gx) <= std::numeric_limits<A>::max()) return sum_gx / count * row.rstd * row.rstd;
  A sum_gn = 0;
  for (std::int64_t j = 0; j < n; ++j)
    sum_gn += static_cast<A>(dy[j]) * weight[j] * ((static_cast<A>(x[j]) - row.mean) * row.rstd);
  return sum_gn / count * row.rstd;
}

// dx = rstd * (g - mean(g) - n * mean(g * n)) with g = dy * weight and n = (x - mean) * rstd.
template <class T, class A = acc_t<T>>
void layer_norm_row_backward(const T* x, const T* dy, const A* weight, RowStatistics<A> row, T* dx,
                             std::int64_t n, bool accumulate) {
  A sum_g = 0, sum_gx = 0;
#pragma omp simd reduction(+ : sum_g, sum_gx)
  for (std::int64_t j = 0; j < n; ++j) {
    const A g = static_cast<A>(dy[j]) * weight[j];
    sum_g += g;
    sum_gx += g * (static_cast<A>(x[j]) - row.mean);
  }
  const A mean_g = sum_g / static_cast<A>(n), slope = mean_product(x, dy, weight, row, sum_gx, n);
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    const A g = static_cast<A>(dy[j]) * weight[j];
    write_grad(dx[j], row.rstd * (g - mean_g - (static_cast<A>(x[j]) - row.mean) * slope), accumulate);
  }
}

// y = x * rstd * weight; returns rstd.
template <class T, class A = acc_t<T>>
A rms_norm_row(const T* x, const A* weight, T* y, std::int64_t n, A eps) {
  A squares = 0;
#pragma omp simd reduction(+ : squares)
  for (std::int64_t j = 0; j < n; ++j) squares += static_cast<A>(x[j]) * static_cast<A>(x[j]);
  const A rstd = reciprocal_deviation(x, A{0}, squares, n, eps);
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) y[j] = static_cast<T>(static_cast<A>(x[j]) * rstd * weight[j]);
  return rstd;
}

// dx = rstd * (g - n * mean(g * n)) with g = dy * weight and n = x * rstd.
template <class T, class A = acc_t<T>>
void rms_norm_row_backward(const T* x, const T* dy, const A* weight, A rstd, T* dx, std::int64_t n,
                           bool accumulate) {
  A sum_gx = 0;
#pragma omp simd reduction(+ : sum_gx)
  for (std::int64_t j = 0; j < n; ++j) sum_gx += static_cast<A>(dy[j]) * weight[j] * static_cast<A>(x[j]);
  const A slope = mean_product(x, dy, weight, {A{0}, rstd}, sum_gx, n);
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j)
    write_grad(dx[j], rstd * (static_cast<A>(dy[j]) * weight[j] - static_cast<A>(x[j]) * slope), accumulate);
}

// sums += dy * (x - mean) * rstd
template <class T, class A = acc_t<T>>
void add_weight_gradient(const T* x, const T* dy, RowStatistics<A> row, A* sums, std::int64_t n) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j)
    sums[j] += static_cast<A>(dy[j]) * ((static_cast<A>(x[j]) - row.mean) * row.rstd);
}

}  // namespace

void layer_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                        const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  const std::int64_t n = x.size(-1), rows = mean.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const std::vector<A> w = values_or<T>(weight, n, 1), b = values_or<T>(bias, n, 0);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    A *means = mean.data<A>(), *rstds = rstd.data<A>();
    parallel_rows(rows, n, [&](std::int64_t row) {
      const auto statistics =
          layer_norm_row(from + row * n, w.data(), b.data(), to + row * n, n, static_cast<A>(eps));
      means[row] = statistics.mean;
      rstds[row] = statistics.rstd;
    });
  });
}

void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                         const Tensor& dy, GradTarget dx) {
  const std::int64_t n = x.size(-1), rows = mean.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const std::vector<A> w = values_or<T>(weight, n, 1);
    const T *xs = x.data<T>(), *dys = dy.data<T>();
    T* to = dx.buffer.data<T>();
    const A *means = mean.data<A>(), *rstds = rstd.data<A>();
    parallel_rows(rows, n, [&](std::int64_t row) {
      layer_norm_row_backward(xs + row * n, dys + row * n, w.data(), {means[row], rstds[row]}, to + row * n,
                              n, dx.accumulate);
    });
  });
}

void layer_norm_backward_weight(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& dy,
                                GradTarget dweight) {
  const std::int64_t n = x.size(-1), rows = mean.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T *xs = x.data<T>(), *dys = dy.data<T>();
    const A *means = mean.data<A>(), *rstds = rstd.data<A>();
    sum_columns<T>(rows, n, dweight, [&](std::int64_t row, A* sums) {
      add_weight_gradient(xs + row * n, dys + row * n, {means[row], rstds[row]}, sums, n);
    });
  });
}

void layer_norm_backward_bias(const Tensor& dy, GradTarget dbias) {
  const std::int64_t n = dy.size(-1), rows = dy.shape().outer(-1);
  for_float_dtype(dy.dtype(), [&]<class T>() {
    const T* dys = dy.data<T>();
    sum_columns<T>(rows, n, dbias,
                   [&](std::int64_t row, acc_t<T>* sums) { add_row(dys + row * n, sums, n); });
  });
}

void rms_norm_forward(const Tensor& x, const Tensor& weight, double eps, const Tensor& y,
                      const Tensor& rstd) {
  const std::int64_t n = x.size(-1), rows = rstd.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const std::vector<A> w = values_or<T>(weight, n, 1);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    A* rstds = rstd.data<A>();
    parallel_rows(rows, n, [&](std::int64_t row) {
      rstds[row] = rms_norm_row(from + row * n, w.data(), to + row * n, n, static_cast<A>(eps));
    });
  });
}

void rms_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& rstd, const Tensor& dy,
                       GradTarget dx) {
  const std::int64_t n = x.size(-1), rows = rstd.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const std::vector<A> w = values_or<T>(weight, n, 1);
    const T *xs = x.data<T>(), *dys = dy.data<T>();
    T* to = dx.buffer.data<T>();
    const A* rstds = rstd.data<A>();
    parallel_rows(rows, n, [&](std::int64_t row) {
      rms_norm_row_backward(xs + row * n, dys + row * n, w.data(), rstds[row], to + row * n, n,
                            dx.accumulate);
    });
  });
}

void rms_norm_backward_weight(const Tensor& x, const Tensor& rstd, const Tensor& dy, GradTarget dweight) {
  const std::int64_t n = x.size(-1), rows = rstd.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T *xs = x.data<T>(), *dys = dy.data<T>();
    const A* rstds = rstd.data<A>();
    sum_columns<T>(rows, n, dweight, [&](std::int64_t row, A* sums) {
      add_weight_gradient(xs + row * n, dys + row * n, {A{0}, rstds[row]}, sums, n);
    });
  });
}

}  // namespace simsmoe::cpu
