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

// The mean of a row as high + low, for one number of A lacks the digits where the mean is large beside the deviation, and
// 1 / sqrt(variance + eps). The mean of a root mean square norm is 0.
template <class W>
struct RowStatistics {
  W high = 0, low = 0, rstd = 0;
};

template <bool centred, class W>
W deviation(W x, const RowStatistics<W>& row) {
  if constexpr (centred)
    return (x - row.high) - row.low;
  else
    return x;
}

// The statistics in W, and whether their sums stayed within its range. Squares that underflow count for nothing beside a
// sum of at least kLeast, or beside such an eps.
template <bool centred, class W, class T, class A = acc_t<T>>
bool statistics(const T* x, std::int64_t n, double eps, RowStatistics<W>& row) {
  constexpr W kUlp = std::numeric_limits<W>::epsilon(), kMost = std::numeric_limits<W>::max();
  constexpr W kLeast = std::numeric_limits<W>::min() / (kUlp * kUlp);
  const W count = static_cast<W>(n);
  W mean = 0, squares = 0, rest = 0;
  if constexpr (centred) {
    W sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t j = 0; j < n; ++j) sum += static_cast<W>(static_cast<A>(x[j]));
    mean = sum / count;
  }
  // From the differences, not as E[x^2] - mean^2: that would cancel when the mean is large. What they add up to is the
  // rounding error of the mean (Chan, Golub, LeVeque, "Algorithms for Computing the Sample Variance", 1983, eq. 1.7).
#pragma omp simd reduction(+ : squares, rest)
  for (std::int64_t j = 0; j < n; ++j) {
    const W d = static_cast<W>(static_cast<A>(x[j])) - mean;
    squares += d * d;
    if constexpr (centred) rest += d;
  }
  row.high = mean;
  row.low = centred ? rest / count : W(0);
  const W variance = squares / count - row.low * row.low;
  row.rstd = 1 / std::sqrt((variance < 0 ? W(0) : variance) + static_cast<W>(eps));
  return squares <= kMost && (squares >= kLeast || eps >= static_cast<double>(kLeast));
}

// y = (x - mean) * rstd * weight + bias, bias nullptr for none.
template <bool centred, class W, class T, class A = acc_t<T>>
void normalise(const T* x, const A* weight, const A* bias, RowStatistics<W> row, T* y, std::int64_t n) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    const W d = deviation<centred>(static_cast<W>(static_cast<A>(x[j])), row);
    W value = d * row.rstd * static_cast<W>(weight[j]);
    if constexpr (centred) value += static_cast<W>(bias[j]);
    y[j] = static_cast<T>(static_cast<A>(value));
  }
}

// The mean and 1 / sqrt(variance + eps) of a row, for the backward pass.
template <class A>
struct Kept {
  double mean;
  A rstd;
};

template <bool centred, class T, class A = acc_t<T>>
Kept<A> norm_row(const T* x, const A* weight, const A* bias, T* y, std::int64_t n, double eps) {
  RowStatistics<A> row;
  if (statistics<centred>(x, n, eps, row)) {
    normalise<centred>(x, weight, bias, row, y, n);
    return {static_cast<double>(row.high) + static_cast<double>(row.low), row.rstd};
  }
  RowStatistics<Wide<A>> wide;
  statistics<centred>(x, n, eps, wide);
  normalise<centred>(x, weight, bias, wide, y, n);
  return {static_cast<double>(wide.high + wide.low), static_cast<A>(wide.rstd)};
}

// A row as the backward pass finds it.
template <class W, class A>
RowStatistics<W> split(double mean, A rstd) {
  const W high = static_cast<W>(static_cast<A>(mean));
  return {high, static_cast<W>(static_cast<A>(mean - static_cast<double>(high))), static_cast<W>(rstd)};
}

// mean(g) and mean(g * n) with g = dy * weight and n = (x - mean) * rstd.
template <class W>
struct RowMeans {
  W g, gn;
};

template <bool centred, class W, class T, class A = acc_t<T>>
RowMeans<W> row_means(const T* x, const T* dy, const A* weight, RowStatistics<W> row, std::int64_t n) {
  W sum_g = 0, sum_gd = 0;
#pragma omp simd reduction(+ : sum_g, sum_gd)
  for (std::int64_t j = 0; j < n; ++j) {
    const W g = static_cast<W>(static_cast<A>(dy[j])) * static_cast<W>(weight[j]);
    if constexpr (centred) sum_g += g;
    sum_gd += g * deviation<centred>(static_cast<W>(static_cast<A>(x[j])), row);
  }
  return {sum_g / static_cast<W>(n), sum_gd / static_cast<W>(n) * row.rstd};
}

// dx = rstd * (g - mean(g) - n * mean(g * n)); without mean(g) where the mean does not depend on x.
template <class W, bool centred, class T, class A = acc_t<T>>
void write_slopes(const T* x, const T* dy, const A* weight, RowStatistics<W> row, RowMeans<W> means, T* dx,
                  std::int64_t n, bool accumulate) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    const W g = static_cast<W>(static_cast<A>(dy[j])) * static_cast<W>(weight[j]);
    const W normal = deviation<centred>(static_cast<W>(static_cast<A>(x[j])), row) * row.rstd;
    write_grad(dx[j], static_cast<A>(row.rstd * (g - means.g - normal * means.gn)), accumulate);
  }
}

template <bool centred, class T, class A = acc_t<T>>
void norm_row_backward(const T* x, const T* dy, const A* weight, double mean, A rstd, T* dx, std::int64_t n,
                       bool accumulate) {
  constexpr A kMost = std::numeric_limits<A>::max();
  const auto row = split<A>(mean, rstd);
  const RowMeans<A> means = row_means<centred>(x, dy, weight, row, n);
  if (std::fabs(means.g) <= kMost && std::fabs(means.gn) <= kMost)
    return write_slopes<A, centred>(x, dy, weight, row, means, dx, n, accumulate);
  const auto wide = split<Wide<A>>(mean, rstd);  // large x and large weights together overflow the sums
  write_slopes<Wide<A>, centred>(x, dy, weight, wide, row_means<centred>(x, dy, weight, wide, n), dx, n,
                                 accumulate);
}

// sums += dy * (x - mean) * rstd
template <bool centred, class T, class A = acc_t<T>>
void add_weight_gradient(const T* x, const T* dy, RowStatistics<A> row, A* sums, std::int64_t n) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j)
    sums[j] += static_cast<A>(dy[j]) * (deviation<centred>(static_cast<A>(x[j]), row) * row.rstd);
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
    double* means = mean.data<double>();
    A* rstds = rstd.data<A>();
    parallel_rows(rows, n, [&](std::int64_t row) {
      const Kept<A> kept = norm_row<true>(from + row * n, w.data(), b.data(), to + row * n, n, eps);
      means[row] = kept.mean;
      rstds[row] = kept.rstd;
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
    const double* means = mean.data<double>();
    const A* rstds = rstd.data<A>();
    parallel_rows(rows, n, [&](std::int64_t row) {
      norm_row_backward<true>(xs + row * n, dys + row * n, w.data(), means[row], rstds[row], to + row * n, n,
                              dx.accumulate);
    });
  });
}

void layer_norm_backward_weight(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& dy,
                                GradTarget dweight) {
  const std::int64_t n = x.size(-1), rows = mean.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T *xs = x.data<T>(), *dys = dy.data<T>();
    const double* means = mean.data<double>();
    const A* rstds = rstd.data<A>();
    sum_columns<T>(rows, n, dweight, [&](std::int64_t row, A* sums) {
      add_weight_gradient<true>(xs + row * n, dys + row * n, split<A>(means[row], rstds[row]), sums, n);
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
      rstds[row] =
          norm_row<false>(from + row * n, w.data(), static_cast<const A*>(nullptr), to + row * n, n, eps)
              .rstd;
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
      norm_row_backward<false>(xs + row * n, dys + row * n, w.data(), 0.0, rstds[row], to + row * n, n,
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
      add_weight_gradient<false>(xs + row * n, dys + row * n, {0, 0, rstds[row]}, sums, n);
    });
  });
}

}  // namespace simsmoe::cpu
