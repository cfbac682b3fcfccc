#include <algorithm>
#include <numeric>

#include "ops/cpu_kernel.hpp"
#include "ops/sort.hpp"

// One thread owns a row.

namespace simsmoe::cpu {

namespace {

// a before b in a descending or an ascending list, a NaN after everything.
template <class A>
bool before(A a, A b) {
  return a > b || (b != b && a == a);
}
template <class A>
bool before_ascending(A a, A b) {
  return a < b || (b != b && a == a);
}

// Keeps the k best so far in order; scanning upwards and inserting behind equals prefers the lower index.
template <class T, class A = acc_t<T>>
void topk_row(const T* x, std::int64_t n, std::int64_t k, T* values, std::int32_t* indices) {
  std::int64_t filled = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const A value = static_cast<A>(x[i]);
    if (filled == k && !before(value, static_cast<A>(values[k - 1]))) continue;
    std::int64_t place = filled < k ? filled++ : k - 1;
    for (; place > 0 && before(value, static_cast<A>(values[place - 1])); --place) {
      values[place] = values[place - 1];
      indices[place] = indices[place - 1];
    }
    values[place] = x[i];
    indices[place] = static_cast<std::int32_t>(i);
  }
}

template <class T>
void sort_row(const T* x, std::int64_t n, bool descending, std::int32_t* indices) {
  using A = acc_t<T>;
  const auto at = [x](std::int32_t i) { return static_cast<A>(x[i]); };
  std::iota(indices, indices + n, 0);
  if (descending)
    std::stable_sort(indices, indices + n, [&](auto i, auto j) { return before(at(i), at(j)); });
  else
    std::stable_sort(indices, indices + n, [&](auto i, auto j) { return before_ascending(at(i), at(j)); });
}

}  // namespace

void topk_forward(const Tensor& x, const Tensor& values, const Tensor& indices) {
  const std::int64_t rows = x.shape().outer(-1), n = x.size(-1), k = values.size(-1);
  for_float_dtype(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* best = values.data<T>();
    std::int32_t* chosen = indices.data<std::int32_t>();
    parallel_rows(
        rows, n, [&](std::int64_t row) { topk_row(from + row * n, n, k, best + row * k, chosen + row * k); });
  });
}

void sort_forward(const Tensor& x, bool descending, const Tensor& values, const Tensor& indices) {
  const std::int64_t rows = x.shape().outer(-1), n = x.size(-1);
  for_dtype(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* sorted = values.defined() ? values.data<T>() : nullptr;
    std::int32_t* order = indices.data<std::int32_t>();
    parallel_rows(rows, n, [&](std::int64_t row) {
      sort_row(from + row * n, n, descending, order + row * n);
      if (sorted == nullptr) return;
      for (std::int64_t j = row * n; j < (row + 1) * n; ++j) sorted[j] = from[row * n + order[j]];
    });
  });
}

}  // namespace simsmoe::cpu
