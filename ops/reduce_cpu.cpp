#include "ops/reduce.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/math.hpp"
#include "ops/cpu_sums.hpp"

// The reduced axis is cut into pieces whose number depends on the shape alone; their results are combined in
// order, so the whole has the same bits for any number of threads. It also keeps each sum short, hence exact.

namespace simsmoe::cpu {

namespace {

// --- forward --------------------------------------------------------------------------------------------

// The pieces that the axis of a view is cut into.
struct Pieces {
  explicit Pieces(AxisView v)
      : view(v), count(std::clamp<std::int64_t>(v.n * v.inner / kGrain, 1, std::max<std::int64_t>(v.n, 1))) {}
  std::int64_t begin(std::int64_t piece) const { return view.n * piece / count; }
  // f(o, begin, end, unit) for each piece of each o; those of one o have consecutive units.
  template <class F>
  void for_each(const F& f) const {
    parallel_rows(view.outer * count, view.n * view.inner / count, [&](std::int64_t unit) {
      f(unit / count, begin(unit % count), begin(unit % count + 1), unit);
    });
  }
  // Where the result of a piece for column i of k = (o, i) lies in [units, inner].
  std::size_t place(std::int64_t k, std::int64_t piece) const {
    return static_cast<std::size_t>((k / view.inner * count + piece) * view.inner + k % view.inner);
  }
  std::size_t results() const { return static_cast<std::size_t>(view.outer * count * view.inner); }

  AxisView view;
  std::int64_t count;
};

// sum[i] += the sum over rows [begin, end) of term(x[j, i], i); x: [n, inner]
template <class T, class Term>
void add_rows(const T* x, std::int64_t begin, std::int64_t end, std::int64_t inner, Term term,
              acc_t<T>* sum) {
  using A = acc_t<T>;
  if (inner == 1) {
    A total = 0;
#pragma omp simd reduction(+ : total)
    for (std::int64_t j = begin; j < end; ++j) total += term(static_cast<A>(x[j]), 0);
    *sum += total;
    return;
  }
  for (std::int64_t j = begin; j < end; ++j)
    for (std::int64_t i = 0; i < inner; ++i) sum[i] += term(static_cast<A>(x[j * inner + i]), i);
}

// The range of a sum in which nothing was lost to overflow.
template <class A>
bool is_finite(A total) {
  return std::fabs(total) <= std::numeric_limits<A>::max();
}

// x - mean, computed in A as far as A holds it: of a mean that is large beside the deviations it has too few digits.
template <class A, class W>
W deviation(W x, double mean) {
  const A high = static_cast<A>(mean), low = static_cast<A>(mean - static_cast<double>(high));
  return (x - static_cast<W>(high)) - static_cast<W>(low);
}

// result(k, the sum over j of term_of(o)(x[o, j, i], i)) for every k = (o, i). Sums of which `holds` is not true are taken
// again in Wide, where no partial sum leaves the range.
template <class T, class TermOf, class Holds, class Result>
void sum_terms(const T* x, AxisView view, const TermOf& term_of, const Holds& holds, const Result& result) {
  using A = acc_t<T>;
  const Pieces pieces(view);
  std::vector<A> sums(pieces.results(), A(0));
  pieces.for_each([&](std::int64_t o, std::int64_t begin, std::int64_t end, std::int64_t unit) {
    add_rows(x + o * view.n * view.inner, begin, end, view.inner, term_of(o),
             sums.data() + unit * view.inner);
  });
  parallel_elements(view.outer * view.inner, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k) {
      A total = 0;
      for (std::int64_t piece = 0; piece < pieces.count; ++piece) total += sums[pieces.place(k, piece)];
      if (holds(total)) {
        result(k, total);
        continue;
      }
      const std::int64_t o = k / view.inner, i = k % view.inner;
      const auto term = term_of(o);
      Wide<A> wide = 0;
      for (std::int64_t j = 0; j < view.n; ++j)
        wide += term(static_cast<Wide<A>>(static_cast<A>(x[(o * view.n + j) * view.inner + i])), i);
      result(k, wide);
    }
  });
}

// A value and where it was found.
template <class A>
struct Found {
  A value;
  std::int64_t place;
};

// Whether b replaces a as the extremum: of equals the first stays, and the first NaN stays for good.
template <Extremum which, class A>
bool beats(A b, A a) {
  const bool beyond = which == Extremum::max ? b > a : b < a;
  return beyond || (b != b && a == a);
}

// The same over neighbours [begin, end): the extremum first, in vector lanes, then where it is.
template <Extremum which, class T, class A = acc_t<T>>
Found<A> find_extremum(const T* x, std::int64_t begin, std::int64_t end) {
  constexpr A kSign = which == Extremum::max ? 1 : -1;
  A largest = -std::numeric_limits<A>::infinity();
  bool any_nan = false;
#pragma omp simd reduction(max : largest) reduction(| : any_nan)
  for (std::int64_t j = begin; j < end; ++j) {
    const A value = kSign * static_cast<A>(x[j]);
    largest = math::max(largest, value);
    any_nan = any_nan | (value != value);
  }
  const auto is_it = [=](A value) { return any_nan ? value != value : kSign * value == largest; };
  std::int64_t place = begin;
  while (!is_it(static_cast<A>(x[place]))) ++place;
  return {static_cast<A>(x[place]), place};
}

// found[i] = the extremum of x[j, i] over rows [begin, end), of which there is one at least; x: [n, inner]
template <Extremum which, class T, class A = acc_t<T>>
void find_extrema(const T* x, std::int64_t begin, std::int64_t end, std::int64_t inner, Found<A>* found) {
  if (inner == 1) {
    *found = find_extremum<which>(x, begin, end);
    return;
  }
  for (std::int64_t i = 0; i < inner; ++i) found[i] = {static_cast<A>(x[begin * inner + i]), begin};
  for (std::int64_t j = begin + 1; j < end; ++j)
    for (std::int64_t i = 0; i < inner; ++i)
      if (const A value = static_cast<A>(x[j * inner + i]); beats<which>(value, found[i].value))
        found[i] = {value, j};
}

template <Extremum which, class T>
void extrema(const T* x, AxisView view, T* y, std::int64_t* where) {
  const Pieces pieces(view);
  std::vector<Found<acc_t<T>>> found(pieces.results());
  pieces.for_each([&](std::int64_t o, std::int64_t begin, std::int64_t end, std::int64_t unit) {
    find_extrema<which>(x + o * view.n * view.inner, begin, end, view.inner,
                        found.data() + unit * view.inner);
  });
  parallel_elements(view.outer * view.inner, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k) {
      Found<acc_t<T>> best = found[pieces.place(k, 0)];
      for (std::int64_t piece = 1; piece < pieces.count; ++piece)
        if (const auto next = found[pieces.place(k, piece)]; beats<which>(next.value, best.value))
          best = next;
      y[k] = static_cast<T>(best.value);
      where[k] = best.place;
    }
  });
}

// --- backward -------------------------------------------------------------------------------------------

// dx[o, j, i] = slope_of(k)(j, e) with k = (o, i) and e the place in dx, or += it.
template <class T, class SlopeOf>
void write_slopes(AxisView view, const GradTarget& dx, const SlopeOf& slope_of) {
  const std::int64_t n = view.n, inner = view.inner;
  T* to = dx.buffer.data<T>();
  decide(dx.accumulate, [&](auto accumulate) {
    if (inner == 1) {
      // one slope along a row; a single long row is shared by the threads
      parallel_elements(dx.buffer.numel(), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t e = begin; e < end;) {
          const std::int64_t row = e / n, first = row * n, stop = std::min(end, first + n);
          const auto slope = slope_of(row);
          for (; e < stop; ++e) write_grad(to[e], slope(e - first, e), accumulate);
        }
      });
      return;
    }
    parallel_rows(view.outer * n, inner, [&](std::int64_t row) {
      const std::int64_t k = row / n * inner, j = row % n;
      for (std::int64_t i = 0; i < inner; ++i)
        write_grad(to[row * inner + i], slope_of(k + i)(j, row * inner + i), accumulate);
    });
  });
}

}  // namespace

void sum_forward(const Tensor& x, AxisView view, double factor, const Tensor& y) {
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    T* out = y.data<T>();
    sum_terms(
        x.data<T>(), view, [](std::int64_t) { return [](auto value, std::int64_t) { return value; }; },
        is_finite<A>,
        [=](std::int64_t k, auto total) {
          out[k] = static_cast<T>(static_cast<A>(static_cast<decltype(total)>(factor) * total));
        });
  });
}

void sum_backward(const Tensor& dy, AxisView view, double factor, GradTarget dx) {
  for_float_dtype(dy.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T* from = dy.data<T>();
    write_slopes<T>(view, dx, [=](std::int64_t k) {
      const A slope = static_cast<A>(factor) * static_cast<A>(from[k]);
      return [slope](std::int64_t, std::int64_t) { return slope; };
    });
  });
}

void extremum_forward(Extremum extremum, const Tensor& x, AxisView view, const Tensor& y,
                      const Tensor& where) {
  for_float_dtype(x.dtype(), [&]<class T>() {
    if (extremum == Extremum::max)
      extrema<Extremum::max>(x.data<T>(), view, y.data<T>(), where.data<std::int64_t>());
    else
      extrema<Extremum::min>(x.data<T>(), view, y.data<T>(), where.data<std::int64_t>());
  });
}

void extremum_backward(const Tensor& dy, const Tensor& where, AxisView view, GradTarget dx) {
  for_float_dtype(dy.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T* from = dy.data<T>();
    const std::int64_t* places = where.data<std::int64_t>();
    write_slopes<T>(view, dx, [=](std::int64_t k) {
      return [slope = static_cast<A>(from[k]), place = places[k]](std::int64_t j, std::int64_t) {
        return j == place ? slope : A(0);
      };
    });
  });
}

void var_forward(const Tensor& x, AxisView view, double factor, const Tensor& mean, const Tensor& y) {
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T* from = x.data<T>();
    T* out = y.data<T>();
    double* means = mean.data<double>();
    const auto divided = [n = view.n](auto total) {
      return static_cast<double>(total / static_cast<decltype(total)>(n));
    };
    sum_terms(
        from, view, [](std::int64_t) { return [](auto value, std::int64_t) { return value; }; }, is_finite<A>,
        [=](std::int64_t k, auto total) { means[k] = divided(total); });
    // What the differences from it add up to is the rounding error of the mean.
    const auto minus_mean = [means, inner = view.inner](std::int64_t o) {
      return [m = means + o * inner](auto value, std::int64_t i) { return deviation<A>(value, m[i]); };
    };
    sum_terms(from, view, minus_mean, is_finite<A>,
              [=](std::int64_t k, auto total) { means[k] += divided(total); });
    // From the differences, not as E[x^2] - mean^2: that would cancel when the mean is large.
    sum_terms(
        from, view,
        [=](std::int64_t o) {
          return [difference = minus_mean(o)](auto value, std::int64_t i) {
            const auto d = difference(value, i);
            return d * d;
          };
        },
        is_finite<A>,
        [=](std::int64_t k, auto total) {
          out[k] = static_cast<T>(static_cast<A>(static_cast<decltype(total)>(factor) * total));
        });
  });
}

void var_backward(const Tensor& x, const Tensor& mean, const Tensor& dy, AxisView view, double factor,
                  GradTarget dx) {
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T *at = x.data<T>(), *from = dy.data<T>();
    const double* means = mean.data<double>();
    write_slopes<T>(view, dx, [=](std::int64_t k) {
      const A slope = static_cast<A>(2 * factor * static_cast<double>(static_cast<A>(from[k])));
      return [=, m = means[k]](std::int64_t, std::int64_t e) {
        return slope * deviation<A>(static_cast<A>(at[e]), m);
      };
    });
  });
}

void l2_norm_forward(const Tensor& x, AxisView view, const Tensor& norm, const Tensor& y) {
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T* from = x.data<T>();
    T* out = y.data<T>();
    double* norms = norm.data<double>();
    // Of a sum in this range no square overflowed, and those that underflowed are below its last place.
    constexpr A kUlp = std::numeric_limits<A>::epsilon(), kMost = std::numeric_limits<A>::max();
    constexpr A kLeast = std::numeric_limits<A>::min() / (kUlp * kUlp);
    sum_terms(
        from, view, [](std::int64_t) { return [](auto value, std::int64_t) { return value * value; }; },
        [](A sum) { return sum >= kLeast && sum <= kMost; },
        [=](std::int64_t k, auto sum) {
          norms[k] = static_cast<double>(std::sqrt(sum));
          out[k] = static_cast<T>(static_cast<A>(norms[k]));
        });
  });
}

void l2_norm_backward(const Tensor& x, const Tensor& norm, const Tensor& dy, AxisView view, GradTarget dx) {
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T *at = x.data<T>(), *from = dy.data<T>();
    const double* norms = norm.data<double>();
    write_slopes<T>(view, dx, [=](std::int64_t k) {
      // A norm beyond the normal numbers of A has lost digits there, or all: x and norm in a unit in which it has them
      constexpr double kLeast = std::numeric_limits<A>::min(), kMost = std::numeric_limits<A>::max();
      const double unit = (norms[k] < kLeast) ? 0x1p64 : ((norms[k] > kMost) ? 0x1p-64 : 1.0);
      return [=, slope = static_cast<A>(from[k]), up = static_cast<A>(unit),
              norm_k = static_cast<A>(norms[k] * unit)](std::int64_t, std::int64_t e) {
        return norm_k == 0 ? A(0) : slope * (static_cast<A>(at[e]) * up / norm_k);
      };
    });
  });
}

void cumsum(const Tensor& x, AxisView view, bool from_end, GradTarget y) {
  const std::int64_t n = view.n, inner = view.inner;
  const auto row_at = [=](std::int64_t step) { return from_end ? n - 1 - step : step; };
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T* from = x.data<T>();
    T* to = y.buffer.data<T>();
    if (inner == 1) {
      parallel_rows(view.outer, n, [&](std::int64_t o) {
        A sum = 0;
        for (std::int64_t step = 0; step < n; ++step) {
          const std::int64_t place = o * n + row_at(step);
          sum += static_cast<A>(from[place]);
          write_grad(to[place], sum, y.accumulate);
        }
      });
      return;
    }
    // Columns are independent; a thread's share of those of one o run side by side.
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (n + 1));
    parallel_for(view.outer * inner, grain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<A> sums(static_cast<std::size_t>(std::min(inner, end - begin)));
      for (std::int64_t k = begin, width = 0; k < end; k += width) {
        width = std::min(inner - k % inner, end - k);
        std::fill_n(sums.begin(), width, A(0));
        for (std::int64_t step = 0; step < n; ++step) {
          const std::int64_t first = (k / inner * n + row_at(step)) * inner + k % inner;
          add_row(from + first, sums.data(), width);
          write_grads(sums.data(), to + first, width, y.accumulate);
        }
      }
    });
  });
}

}  // namespace simsmoe::cpu
