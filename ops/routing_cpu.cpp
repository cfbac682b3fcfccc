#include <algorithm>
#include <span>

#include "ops/cpu_sums.hpp"
#include "ops/routing.hpp"

// The integer part is a few thousand numbers: one thread sorts them. Rows of D are shared out over the
// threads by what is written (copies or tokens), and a token sums its copies in the order of its choices.

namespace simsmoe::cpu {

namespace {

// y = x * weight, or += it.
template <class T, class A = acc_t<T>>
void scale_row(const T* x, A weight, T* y, std::int64_t n, bool accumulate) {
#pragma omp simd
  for (std::int64_t d = 0; d < n; ++d) write_grad(y[d], static_cast<A>(x[d]) * weight, accumulate);
}

// sums += x * weight
template <class T, class A = acc_t<T>>
void add_scaled(const T* x, A weight, A* sums, std::int64_t n) {
#pragma omp simd
  for (std::int64_t d = 0; d < n; ++d) sums[d] += static_cast<A>(x[d]) * weight;
}

template <class T, class A = acc_t<T>>
A dot(const T* x, const T* y, std::int64_t n) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t d = 0; d < n; ++d) sum += static_cast<A>(x[d]) * static_cast<A>(y[d]);
  return sum;
}

}  // namespace

void expert_histogram(const Tensor& experts, const Tensor& counts) {
  const std::span<const std::int32_t> chosen = experts.host<const std::int32_t>();
  const std::span<std::int64_t> count = counts.host<std::int64_t>();
  std::ranges::fill(count, 0);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    SMX_CHECK(-1 <= chosen[i] && chosen[i] < std::ssize(count),
              "[expert_histogram] experts[{}] = {} is outside [-1, {})", i, chosen[i], count.size());
    if (chosen[i] >= 0) ++count[static_cast<std::size_t>(chosen[i])];
  }
}

void stable_partition(const Tensor& experts, const Tensor& offsets, const Tensor& order,
                      const Tensor& position) {
  const std::span<const std::int32_t> chosen = experts.host<const std::int32_t>();
  const std::span<std::int32_t> row_of = position.host<std::int32_t>();
  std::int32_t* copy_of = order.data<std::int32_t>();
  const std::span<const std::int64_t> end = offsets.host<const std::int64_t>();
  std::vector<std::int64_t> next(end.begin(), end.end());  // the row that each expert fills next
  for (std::size_t copy = 0; copy < chosen.size(); ++copy) {
    row_of[copy] = -1;
    if (chosen[copy] < 0) continue;
    const std::size_t expert = static_cast<std::size_t>(chosen[copy]);
    SMX_CHECK(expert + 1 < next.size() && next[expert] < end[expert + 1],
              "[stable_partition] the counts are not those of the experts: expert {} has more copies",
              expert);
    const std::int64_t row = next[expert]++;
    row_of[copy] = static_cast<std::int32_t>(row);
    copy_of[row] = static_cast<std::int32_t>(copy);
  }
}

void gather_rows(const Tensor& x, const Tensor& weights, const ops::Partition& plan, GradTarget y) {
  const std::int64_t k = plan.position.size(1), n = x.size(1);
  const std::int32_t* order = plan.order.data<std::int32_t>();
  for_float_dtype(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    const T* weight = weights.defined() ? weights.data<T>() : nullptr;
    T* to = y.buffer.data<T>();
    parallel_rows(plan.order.size(0), n, [&](std::int64_t row) {
      const T* token = from + order[row] / k * n;
      if (weight == nullptr && !y.accumulate)
        std::copy_n(token, n, to + row * n);
      else
        scale_row(token, weight == nullptr ? acc_t<T>{1} : static_cast<acc_t<T>>(weight[order[row]]),
                  to + row * n, n, y.accumulate);
    });
  });
}

void combine_rows(const Tensor& h, const Tensor& weights, const ops::Partition& plan, GradTarget y) {
  const std::int64_t tokens = plan.position.size(0), k = plan.position.size(1), n = h.size(1);
  const std::int32_t* position = plan.position.data<std::int32_t>();
  for_float_dtype(h.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T* from = h.data<T>();
    const T* weight = weights.defined() ? weights.data<T>() : nullptr;
    T* to = y.buffer.data<T>();
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (k * n + 1));
    parallel_for(tokens, grain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<A> sums(static_cast<std::size_t>(n));
      for (std::int64_t token = begin; token < end; ++token) {
        std::ranges::fill(sums, A{0});
        for (std::int64_t copy = token * k; copy < (token + 1) * k; ++copy)
          if (position[copy] >= 0)
            add_scaled(from + position[copy] * n, weight == nullptr ? A{1} : static_cast<A>(weight[copy]),
                       sums.data(), n);
        write_grads(sums.data(), to + token * n, n, y.accumulate);
      }
    });
  });
}

void combine_weights_backward(const Tensor& h, const Tensor& dy, const ops::Partition& plan,
                              GradTarget dweights) {
  const std::int64_t k = plan.position.size(1), n = h.size(1);
  const std::int32_t* position = plan.position.data<std::int32_t>();
  for_float_dtype(h.dtype(), [&]<class T>() {
    const T *rows = h.data<T>(), *dys = dy.data<T>();
    T* to = dweights.buffer.data<T>();
    parallel_rows(plan.position.numel(), n, [&](std::int64_t copy) {
      const acc_t<T> slope =
          position[copy] < 0 ? acc_t<T>{0} : dot(rows + position[copy] * n, dys + copy / k * n, n);
      write_grad(to[copy], slope, dweights.accumulate);
    });
  });
}

}  // namespace simsmoe::cpu
