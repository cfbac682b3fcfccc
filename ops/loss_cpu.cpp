#include "engine/math.hpp"
#include "ops/cpu_sums.hpp"
#include "ops/loss.hpp"

// One thread owns a row of logits; the rows' losses are added in double, in order: the same bits for any
// number of threads.

namespace simsmoe::cpu {

namespace {

template <class T, class A = acc_t<T>>
A row_max(const T* x, std::int64_t n) {
  A m = x[0];
#pragma omp simd reduction(max : m)
  for (std::int64_t j = 0; j < n; ++j) m = math::max(m, static_cast<A>(x[j]));
  return m;
}

template <class T, class A = acc_t<T>>
A sum_exp(const T* x, A shift, std::int64_t n) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) sum += math::exp(static_cast<A>(x[j]) - shift);
  return sum;
}

// dx = exp(x - shift) * slope, or += it.
template <class T, class A = acc_t<T>>
void exp_times(const T* x, A shift, A slope, T* dx, std::int64_t n, bool accumulate) {
  decide(accumulate, [=](auto add) {
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j)
      write_grad(dx[j], math::exp(static_cast<A>(x[j]) - shift) * slope, add);
  });
}

// Checks every target and returns the number of those that count.
template <class I>
std::int64_t count_targets(const I* targets, std::int64_t rows, std::int64_t classes,
                           std::int64_t ignore_index) {
  std::int64_t count = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    if (targets[r] == ignore_index) continue;
    SMX_CHECK(0 <= targets[r] && targets[r] < classes, "[cross_entropy] targets[{}] = {} is outside [0, {})",
              r, targets[r], classes);
    ++count;
  }
  return count;
}

template <class T>
double squared_distance(const T* a, const T* b, std::int64_t n) {
  acc_t<T> sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) {
    const acc_t<T> d = static_cast<acc_t<T>>(a[i]) - static_cast<acc_t<T>>(b[i]);
    sum += d * d;
  }
  return static_cast<double>(sum);
}

template <class T>
void scaled_difference(const T* a, const T* b, acc_t<T> slope, T* da, std::int64_t n, bool accumulate) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i)
    write_grad(da[i], (static_cast<acc_t<T>>(a[i]) - static_cast<acc_t<T>>(b[i])) * slope, accumulate);
}

}  // namespace

void cross_entropy_forward(const Tensor& logits, const Tensor& targets, std::int64_t ignore_index,
                           const Tensor& max, const Tensor& sum, const Tensor& loss) {
  const std::int64_t rows = logits.size(0), n = logits.size(1);
  for_float_dtype(logits.dtype(), [&]<class T>() {
    for_index_dtype(targets.dtype(), [&]<class I>() {
      using A = acc_t<T>;
      const T* x = logits.data<T>();
      const I* target = targets.data<I>();
      A *maxima = max.data<A>(), *sums = sum.data<A>();
      const std::int64_t count = count_targets(target, rows, n, ignore_index);
      SMX_CHECK(count > 0, "[cross_entropy] expected a row that counts, got {} rows, all of them ignored",
                rows);
      std::vector<double> losses(static_cast<std::size_t>(rows), 0.0);
      parallel_rows(rows, n, [&](std::int64_t r) {
        if (target[r] == ignore_index) return;
        const T* row = x + r * n;
        maxima[r] = row_max(row, n);
        sums[r] = sum_exp(row, maxima[r], n);
        // Not max + log(sum) first: with large logits it would lose digits that the difference max - x keeps.
        losses[static_cast<std::size_t>(r)] =
            static_cast<double>(math::log(sums[r]) + (maxima[r] - static_cast<A>(row[target[r]])));
      });
      double total = 0.0;
      for (const double l : losses) total += l;
      *loss.data<A>() = static_cast<A>(total / static_cast<double>(count));
    });
  });
}

void cross_entropy_backward(const Tensor& logits, const Tensor& targets, std::int64_t ignore_index,
                            const Tensor& max, const Tensor& sum, const Tensor& dloss, GradTarget dlogits) {
  const std::int64_t rows = logits.size(0), n = logits.size(1);
  for_float_dtype(logits.dtype(), [&]<class T>() {
    for_index_dtype(targets.dtype(), [&]<class I>() {
      using A = acc_t<T>;
      const T* x = logits.data<T>();
      const I* target = targets.data<I>();
      const A *maxima = max.data<A>(), *sums = sum.data<A>();
      T* dx = dlogits.buffer.data<T>();
      const std::int64_t count = count_targets(target, rows, n, ignore_index);
      const A slope = *dloss.data<A>() / static_cast<A>(count);
      parallel_rows(rows, n, [&](std::int64_t r) {
        T* row = dx + r * n;
        if (target[r] == ignore_index) {
          if (!dlogits.accumulate) std::fill_n(row, n, T{});
          return;
        }
        const A before = dlogits.accumulate ? static_cast<A>(row[target[r]]) : A{0};
        exp_times(x + r * n, maxima[r], slope / sums[r], row, n, dlogits.accumulate);
        // The target's own entry again, in one rounding: the softmax less 1 is small once the model is sure.
        const A p = math::exp(static_cast<A>(x[r * n + target[r]]) - maxima[r]) / sums[r];
        row[target[r]] = static_cast<T>(before + (p - 1) * slope);
      });
    });
  });
}

void mse_forward(const Tensor& a, const Tensor& b, const Tensor& loss) {
  const std::int64_t n = a.numel();
  for_float_dtype(a.dtype(), [&]<class T>() {
    const T *as = a.data<T>(), *bs = b.data<T>();
    const double sum = sum_blocks(n, [&](std::int64_t begin, std::int64_t end) {
      return squared_distance(as + begin, bs + begin, end - begin);
    });
    *loss.data<acc_t<T>>() = static_cast<acc_t<T>>(sum / static_cast<double>(n));
  });
}

void mse_backward(const Tensor& a, const Tensor& b, const Tensor& dloss, GradTarget da) {
  const std::int64_t n = a.numel();
  for_float_dtype(a.dtype(), [&]<class T>() {
    const T *as = a.data<T>(), *bs = b.data<T>();
    T* to = da.buffer.data<T>();
    const acc_t<T> slope = 2 * *dloss.data<acc_t<T>>() / static_cast<acc_t<T>>(n);
    parallel_elements(n, [&](std::int64_t begin, std::int64_t end) {
      scaled_difference(as + begin, bs + begin, slope, to + begin, end - begin, da.accumulate);
    });
  });
}

}  // namespace simsmoe::cpu
