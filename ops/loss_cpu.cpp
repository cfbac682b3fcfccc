#include <algorithm>
#include <cmath>
#include <limits>

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

// dx = exp(x - shift) * slope - w * share, or += it.
template <class T, class A = acc_t<T>>
void exp_times_less(const T* x, A shift, A slope, const A* w, A share, T* dx, std::int64_t n,
                    bool accumulate) {
  decide(accumulate, [=](auto add) {
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j)
      write_grad(dx[j], math::exp(static_cast<A>(x[j]) - shift) * slope - w[j] * share, add);
  });
}

// What the options make of targets: the shares of a row's classes in its loss, and whether it counts at all.
template <class A>
struct Shares {
  std::vector<A> weight;  // of each class
  A total = 0;            // their sum
  A own = 1, even = 0;    // the shares 1 - s of the target and s / V of each class
  bool smooth = false;
  std::int64_t ignore_index = 0;

  A of_class(std::int64_t j) const { return weight[static_cast<std::size_t>(j)]; }
};

template <class T, class A = acc_t<T>>
Shares<A> shares_of(const Tensor& logits, const ops::CrossEntropyOptions& options) {
  const std::int64_t n = logits.size(1);
  Shares<A> s;
  s.weight.assign(static_cast<std::size_t>(n), A{1});
  if (options.class_weights.defined()) std::copy_n(options.class_weights.data<T>(), n, s.weight.begin());
  for (const A w : s.weight) s.total += w;
  s.own = static_cast<A>(1.0 - options.label_smoothing);
  s.even = static_cast<A>(options.label_smoothing / static_cast<double>(n));
  s.smooth = options.label_smoothing > 0.0;
  s.ignore_index = options.ignore_index;
  return s;
}

// Checks every target and returns the sum of the weights of those that count: their number without weights.
template <class I, class A>
double counted_weight(const I* targets, std::int64_t rows, const Shares<A>& shares,
                      ops::Reduction reduction) {
  double sum = 0.0;
  bool any = false;
  for (std::int64_t r = 0; r < rows; ++r) {
    if (targets[r] == shares.ignore_index) continue;
    SMX_CHECK(0 <= targets[r] && targets[r] < std::ssize(shares.weight),
              "[cross_entropy] targets[{}] = {} is outside [0, {})", r, targets[r], shares.weight.size());
    sum += static_cast<double>(shares.of_class(targets[r]));
    any = true;
  }
  SMX_CHECK(any || reduction != ops::Reduction::mean,
            "[cross_entropy] expected a row that counts, got {} rows, all of them ignored", rows);
  return sum;
}

// sum_j q_j (lse - x_j) of a row, q as in loss.cpp. Not max + log(sum) first: with large logits it would lose
// digits that the difference max - x keeps.
template <class T, class A = acc_t<T>>
double row_loss(const T* x, std::int64_t n, std::int64_t target, A max, A sum, const Shares<A>& shares) {
  const A log_sum = math::log(sum);
  const double own = static_cast<double>(shares.of_class(target)) *
                     static_cast<double>(log_sum + (max - static_cast<A>(x[target])));
  if (!shares.smooth) return own;
  const A* w = shares.weight.data();
  A even = 0;
#pragma omp simd reduction(+ : even)
  for (std::int64_t j = 0; j < n; ++j) even += w[j] * (log_sum + (max - static_cast<A>(x[j])));
  double all = static_cast<double>(even);
  if (!(std::fabs(even) <= std::numeric_limits<A>::max())) {  // it leaves the range before it is divided
    all = 0.0;
    for (std::int64_t j = 0; j < n; ++j)
      all += static_cast<double>(w[j]) * static_cast<double>(log_sum + (max - static_cast<A>(x[j])));
  }
  return static_cast<double>(shares.own) * own + static_cast<double>(shares.even) * all;
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

void cross_entropy_forward(const Tensor& logits, const Tensor& targets,
                           const ops::CrossEntropyOptions& options, const Tensor& max, const Tensor& sum,
                           const Tensor& loss) {
  const std::int64_t rows = logits.size(0), n = logits.size(1);
  for_float_dtype(logits.dtype(), [&]<class T>() {
    for_index_dtype(targets.dtype(), [&]<class I>() {
      using A = acc_t<T>;
      const T* x = logits.data<T>();
      const I* target = targets.data<I>();
      A *maxima = max.data<A>(), *sums = sum.data<A>(), *out = loss.data<A>();
      const Shares<A> shares = shares_of<T>(logits, options);
      const double weight = counted_weight(target, rows, shares, options.reduction);
      std::vector<double> losses(static_cast<std::size_t>(rows), 0.0);
      parallel_rows(rows, n, [&](std::int64_t r) {
        if (target[r] == options.ignore_index) return;
        const T* row = x + r * n;
        maxima[r] = row_max(row, n);
        sums[r] = sum_exp(row, maxima[r], n);
        losses[static_cast<std::size_t>(r)] = row_loss(row, n, target[r], maxima[r], sums[r], shares);
      });
      if (options.reduction == ops::Reduction::none) {
        std::ranges::transform(losses, out, [](double l) { return static_cast<A>(l); });
        return;
      }
      double total = 0.0;
      for (const double l : losses) total += l;
      *out = static_cast<A>(options.reduction == ops::Reduction::mean ? total / weight : total);
    });
  });
}

void cross_entropy_backward(const Tensor& logits, const Tensor& targets,
                            const ops::CrossEntropyOptions& options, const Tensor& max, const Tensor& sum,
                            const Tensor& dloss, GradTarget dlogits) {
  const std::int64_t rows = logits.size(0), n = logits.size(1);
  for_float_dtype(logits.dtype(), [&]<class T>() {
    for_index_dtype(targets.dtype(), [&]<class I>() {
      using A = acc_t<T>;
      const T* x = logits.data<T>();
      const I* target = targets.data<I>();
      const A *maxima = max.data<A>(), *sums = sum.data<A>(), *upstream = dloss.data<A>();
      T* dx = dlogits.buffer.data<T>();
      const Shares<A> shares = shares_of<T>(logits, options);
      const A weight = static_cast<A>(counted_weight(target, rows, shares, options.reduction));
      parallel_rows(rows, n, [&](std::int64_t r) {
        T* row = dx + r * n;
        if (target[r] == options.ignore_index) {
          if (!dlogits.accumulate) std::fill_n(row, n, T{});
          return;
        }
        const A slope = options.reduction == ops::Reduction::none   ? upstream[r]
                        : options.reduction == ops::Reduction::mean ? *upstream / weight
                                                                    : *upstream;
        const A before = dlogits.accumulate ? static_cast<A>(row[target[r]]) : A{0};
        const A w = shares.of_class(target[r]);
        const A rest = shares.smooth ? shares.even * (shares.total - w) : A{0};
        const A all = shares.smooth ? shares.even * shares.total + shares.own * w : w;  // Q of loss.cpp
        if (shares.smooth)
          exp_times_less(x + r * n, maxima[r], slope * all / sums[r], shares.weight.data(),
                         slope * shares.even, row, n, dlogits.accumulate);
        else
          exp_times(x + r * n, maxima[r], slope * all / sums[r], row, n, dlogits.accumulate);
        // The target's own entry again, in one rounding: the softmax less 1 is small once the model is sure.
        // Q p - q = Q (p - 1) + (Q - q)
        const A p = math::exp(static_cast<A>(x[r * n + target[r]]) - maxima[r]) / sums[r];
        row[target[r]] = static_cast<T>(before + ((p - 1) * all + rest) * slope);
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
