#include <algorithm>
#include <vector>

#include "ops/cpu_kernel.hpp"
#include "ops/pairwise.hpp"

// One thread owns a row of the result. A pair of rows is summed in the order of the columns whichever comes first, so the
// matrix is symmetric to the bit.

namespace simsmoe::cpu {

namespace {

template <class T, class A = acc_t<T>>
A squared_distance(const T* a, const T* b, std::int64_t n) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < n; ++c) {
    const A d = static_cast<A>(a[c]) - static_cast<A>(b[c]);
    sum += d * d;
  }
  return sum;
}

// sums += slope * (a - b)
template <class T, class A = acc_t<T>>
void add_difference(const T* a, const T* b, A slope, A* sums, std::int64_t n) {
#pragma omp simd
  for (std::int64_t c = 0; c < n; ++c) sums[c] += slope * (static_cast<A>(a[c]) - static_cast<A>(b[c]));
}

}  // namespace

void squared_distances_forward(const Tensor& x, const Tensor& y) {
  const std::int64_t n = x.size(0), p = x.size(1);
  for_float_dtype(x.dtype(), [&]<class T>() {
    const T* rows = x.data<T>();
    T* out = y.data<T>();
    parallel_rows(n, n * p, [&](std::int64_t i) {
      for (std::int64_t j = 0; j < n; ++j)
        out[i * n + j] = static_cast<T>(squared_distance(rows + i * p, rows + j * p, p));
    });
  });
}

void squared_distances_backward(const Tensor& x, const Tensor& dy, GradTarget dx) {
  const std::int64_t n = x.size(0), p = x.size(1);
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T *rows = x.data<T>(), *dys = dy.data<T>();
    T* out = dx.buffer.data<T>();
    parallel_for(
        n, std::max<std::int64_t>(1, kGrain / (n * p + 1)), [&](std::int64_t begin, std::int64_t end) {
          std::vector<A> sums(static_cast<std::size_t>(p));
          for (std::int64_t i = begin; i < end; ++i) {
            std::ranges::fill(sums, A{0});
            for (std::int64_t j = 0; j < n; ++j)
              add_difference(rows + i * p, rows + j * p,
                             static_cast<A>(dys[i * n + j]) + static_cast<A>(dys[j * n + i]), sums.data(), p);
            for (std::int64_t c = 0; c < p; ++c)
              write_grad(out[i * p + c], 2 * sums[static_cast<std::size_t>(c)], dx.accumulate);
          }
        });
  });
}

void median_above_diagonal(const Tensor& x, const Tensor& y) {
  const std::int64_t n = x.size(0);
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    std::vector<A> values;
    values.reserve(static_cast<std::size_t>(n * (n - 1) / 2));
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = i + 1; j < n; ++j)
        if (const A value = static_cast<A>(x.data<T>()[i * n + j]); value > 0) values.push_back(value);
    if (values.empty()) {
      *y.data<T>() = static_cast<T>(A{1});
      return;
    }
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
    std::ranges::nth_element(values, middle);
    *y.data<T>() = static_cast<T>(*middle);
  });
}

}  // namespace simsmoe::cpu
