#include <algorithm>
#include <vector>

#include "ops/cpu_kernel.hpp"
#include "ops/reduce.hpp"

// The reduced axis is cut into pieces whose number depends on the shape alone; their sums are added in order,
// so the result has the same bits for any number of threads. It also keeps each sum short, hence exact.

namespace simsmoe::cpu {

namespace {

// sum[i] += the sum over rows [begin, end) of x[j, i]; x: [n, inner]
template <class T>
void add_rows(const T* x, std::int64_t begin, std::int64_t end, std::int64_t inner, acc_t<T>* sum) {
  using A = acc_t<T>;
  if (inner == 1) {
    A total = 0;
#pragma omp simd reduction(+ : total)
    for (std::int64_t j = begin; j < end; ++j) total += static_cast<A>(x[j]);
    *sum += total;
    return;
  }
  for (std::int64_t j = begin; j < end; ++j)
    for (std::int64_t i = 0; i < inner; ++i) sum[i] += static_cast<A>(x[j * inner + i]);
}

}  // namespace

void sum_forward(const Tensor& x, AxisView view, double factor, const Tensor& y) {
  const std::int64_t n = view.n, inner = view.inner;
  const std::int64_t pieces = std::max<std::int64_t>(1, std::min(n, n * inner / kGrain));
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    std::vector<A> sums(static_cast<std::size_t>(view.outer * pieces * inner), A(0));
    const T* in = x.data<T>();
    parallel_rows(view.outer * pieces, n * inner / pieces, [&](std::int64_t unit) {
      const std::int64_t o = unit / pieces, piece = unit % pieces;
      add_rows(in + o * n * inner, n * piece / pieces, n * (piece + 1) / pieces, inner,
               sums.data() + unit * inner);
    });
    T* out = y.data<T>();
    parallel_elements(y.numel(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t k = begin; k < end; ++k) {
        A total = 0;
        for (std::int64_t piece = 0; piece < pieces; ++piece)
          total += sums[static_cast<std::size_t>((k / inner * pieces + piece) * inner + k % inner)];
        out[k] = static_cast<T>(static_cast<A>(factor) * total);
      }
    });
  });
}

void sum_backward(const Tensor& dy, AxisView view, double factor, GradTarget dx) {
  const std::int64_t n = view.n, inner = view.inner;
  for_float_dtype(dy.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T* from = dy.data<T>();
    T* to = dx.buffer.data<T>();
    if (inner == 1) {
      // one value along a row; a single long row is shared by the threads
      parallel_elements(dx.buffer.numel(), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t k = begin; k < end;) {
          const std::int64_t row = k / n, stop = std::min(end, (row + 1) * n);
          const A value = static_cast<A>(factor) * static_cast<A>(from[row]);
          for (; k < stop; ++k) write_grad(to[k], value, dx.accumulate);
        }
      });
      return;
    }
    parallel_rows(view.outer * n, inner, [&](std::int64_t row) {
      const T* source = from + row / n * inner;
      T* target = to + row * inner;
      for (std::int64_t i = 0; i < inner; ++i)
        write_grad(target[i], static_cast<A>(factor) * static_cast<A>(source[i]), dx.accumulate);
    });
  });
}

void max_forward(const Tensor& x, AxisView view, const Tensor& y, const Tensor& where) {
  const std::int64_t n = view.n, inner = view.inner;
  for_float_dtype(x.dtype(), [&]<class T>() {
    parallel_rows(y.numel(), n, [&](std::int64_t k) {
      const T* column = x.data<T>() + k / inner * n * inner + k % inner;
      std::int64_t best = 0;
      acc_t<T> largest = column[0];
      for (std::int64_t j = 1; j < n; ++j) {
        const acc_t<T> value = column[j * inner];
        const bool first_nan = value != value && largest == largest;
        if (value > largest || first_nan) {
          largest = value;
          best = j;
        }
      }
      y.data<T>()[k] = static_cast<T>(largest);
      where.data<std::int64_t>()[k] = best;
    });
  });
}

void max_backward(const Tensor& dy, const Tensor& where, AxisView view, GradTarget dx) {
  const std::int64_t n = view.n, inner = view.inner;
  for_float_dtype(dy.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const std::int64_t* chosen = where.data<std::int64_t>();
    parallel_rows(dy.numel(), n, [&](std::int64_t k) {
      T* column = dx.buffer.data<T>() + k / inner * n * inner + k % inner;
      const A slope = static_cast<A>(dy.data<T>()[k]);
      for (std::int64_t j = 0; j < n; ++j)
        write_grad(column[j * inner], j == chosen[k] ? slope : A(0), dx.accumulate);
    });
  });
}

}  // namespace simsmoe::cpu
