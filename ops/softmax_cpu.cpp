#include <cmath>
#include <limits>

#include "engine/math.hpp"
#include "ops/cpu_sums.hpp"
#include "ops/softmax.hpp"

// One thread owns a row: it reads it two or three times from the cache. Sums run in a fixed order.

namespace simsmoe::cpu {

namespace {

template <class T>
acc_t<T> row_max(const T* x, std::int64_t n) {
  acc_t<T> m = x[0];
#pragma omp simd reduction(max : m)
  for (std::int64_t j = 1; j < n; ++j) m = math::max(m, static_cast<acc_t<T>>(x[j]));
  return m;
}

template <class T>
acc_t<T> sum_exp(const T* x, acc_t<T> m, std::int64_t n) {
  acc_t<T> sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) sum += math::exp(static_cast<acc_t<T>>(x[j]) - m);
  return sum;
}

// The sum of exp(x - m) for log(sum) + m. An infinite m is the result itself, and the terms are beside it what exp(x - m)
// makes of them: their sum counts as 1, unless there is a NaN among x.
template <class T>
acc_t<T> sum_exp_or_one(const T* x, acc_t<T> m, std::int64_t n) {
  if (std::fabs(m) <= std::numeric_limits<acc_t<T>>::max()) return sum_exp(x, m, n);
  acc_t<T> sum = 1;
  for (std::int64_t j = 0; j < n; ++j)
    if (const acc_t<T> v = static_cast<acc_t<T>>(x[j]); v != v) sum = v;
  return sum;
}

// The sum where one in acc_t leaves its range.
template <class T>
Wide<acc_t<T>> wide_sum(const T* x, std::int64_t n) {
  Wide<acc_t<T>> sum = 0;
  for (std::int64_t j = 0; j < n; ++j) sum += static_cast<Wide<acc_t<T>>>(static_cast<acc_t<T>>(x[j]));
  return sum;
}

// dx = dy - exp(y) * sum, or += it.
template <class T, class W>
void subtract_share(const T* y, const T* dy, W sum, T* dx, std::int64_t n, bool accumulate) {
  using A = acc_t<T>;
  decide(accumulate, [=](auto add) {
    for (std::int64_t j = 0; j < n; ++j) {
      const W share = static_cast<W>(math::exp(static_cast<A>(y[j]))) * sum;
      write_grad(dx[j], static_cast<A>(static_cast<W>(static_cast<A>(dy[j])) - share), add);
    }
  });
}

}  // namespace

void softmax_forward(const Tensor& x, const Tensor& y) {
  const std::int64_t n = x.size(-1), rows = x.numel() / n;
  for_float_dtype(x.dtype(), [&]<class T>() {
    parallel_rows(rows, n, [&](std::int64_t row) {
      const T* xr = x.data<T>() + row * n;
      T* yr = y.data<T>() + row * n;
      const acc_t<T> m = row_max(xr, n);
      if constexpr (std::is_same_v<T, bf16>) {  // exp again: y cannot hold it without rounding twice
        const acc_t<T> scale = 1 / sum_exp(xr, m, n);
        for (std::int64_t j = 0; j < n; ++j)
          yr[j] = static_cast<T>(math::exp(static_cast<acc_t<T>>(xr[j]) - m) * scale);
      } else {
        T sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t j = 0; j < n; ++j) sum += yr[j] = math::exp(xr[j] - m);
        const T scale = 1 / sum;
        for (std::int64_t j = 0; j < n; ++j) yr[j] *= scale;
      }
    });
  });
}

void softmax_backward(const Tensor& y, const Tensor& dy, GradTarget dx) {
  const std::int64_t n = y.size(-1), rows = y.numel() / n;
  for_float_dtype(y.dtype(), [&]<class T>() {
    parallel_rows(rows, n, [&](std::int64_t row) {
      const T* yr = y.data<T>() + row * n;
      const T* dyr = dy.data<T>() + row * n;
      T* dxr = dx.buffer.data<T>() + row * n;
      acc_t<T> dot = 0;
#pragma omp simd reduction(+ : dot)
      for (std::int64_t j = 0; j < n; ++j)
        dot += static_cast<acc_t<T>>(dyr[j]) * static_cast<acc_t<T>>(yr[j]);
      for (std::int64_t j = 0; j < n; ++j)
        write_grad(dxr[j], static_cast<acc_t<T>>(yr[j]) * (static_cast<acc_t<T>>(dyr[j]) - dot),
                   dx.accumulate);
    });
  });
}

void log_softmax_forward(const Tensor& x, const Tensor& y) {
  const std::int64_t n = x.size(-1), rows = x.numel() / n;
  for_float_dtype(x.dtype(), [&]<class T>() {
    parallel_rows(rows, n, [&](std::int64_t row) {
      const T* xr = x.data<T>() + row * n;
      T* yr = y.data<T>() + row * n;
      const acc_t<T> m = row_max(xr, n), log_sum = math::log(sum_exp(xr, m, n));
      for (std::int64_t j = 0; j < n; ++j) yr[j] = static_cast<T>(static_cast<acc_t<T>>(xr[j]) - m - log_sum);
    });
  });
}

void log_softmax_backward(const Tensor& y, const Tensor& dy, GradTarget dx) {
  const std::int64_t n = y.size(-1), rows = y.numel() / n;
  for_float_dtype(y.dtype(), [&]<class T>() {
    parallel_rows(rows, n, [&](std::int64_t row) {
      const T* yr = y.data<T>() + row * n;
      const T* dyr = dy.data<T>() + row * n;
      T* dxr = dx.buffer.data<T>() + row * n;
      acc_t<T> sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t j = 0; j < n; ++j) sum += static_cast<acc_t<T>>(dyr[j]);
      if (std::fabs(sum) <= std::numeric_limits<acc_t<T>>::max())
        subtract_share(yr, dyr, sum, dxr, n, dx.accumulate);
      else
        subtract_share(yr, dyr, wide_sum(dyr, n), dxr, n, dx.accumulate);
    });
  });
}

void logsumexp_forward(const Tensor& x, const Tensor& lse) {
  const std::int64_t n = x.size(-1), rows = x.numel() / n;
  for_float_dtype(x.dtype(), [&]<class T>() {
    parallel_rows(rows, n, [&](std::int64_t row) {
      const T* xr = x.data<T>() + row * n;
      const acc_t<T> m = row_max(xr, n);
      lse.data<T>()[row] = static_cast<T>(m + math::log(sum_exp_or_one(xr, m, n)));
    });
  });
}

void logsumexp_backward(const Tensor& x, const Tensor& dlse, GradTarget dx) {
  const std::int64_t n = x.size(-1), rows = x.numel() / n;
  for_float_dtype(x.dtype(), [&]<class T>() {
    parallel_rows(rows, n, [&](std::int64_t row) {
      const T* xr = x.data<T>() + row * n;
      T* dxr = dx.buffer.data<T>() + row * n;
      const acc_t<T> m = row_max(xr, n);
      const acc_t<T> slope = static_cast<acc_t<T>>(dlse.data<T>()[row]) / sum_exp_or_one(xr, m, n);
      decide(dx.accumulate, [&](auto accumulate) {
        for (std::int64_t j = 0; j < n; ++j)
          write_grad(dxr[j], math::exp(static_cast<acc_t<T>>(xr[j]) - m) * slope, accumulate);
      });
    });
  });
}

}  // namespace simsmoe::cpu
