#include <algorithm>
#include <vector>

#include "ops/cpu_sums.hpp"
#include "ops/index.hpp"

// Forward passes copy rows. Backward passes sum in the order of the indices whatever the number of threads:
// the threads share out what is written to (columns, rows), never what is read.

namespace simsmoe::cpu {

namespace {

// The places of each value among indices: those of v are order[first[v]] ... order[first[v + 1] - 1],
// ascending. A counting sort.
struct Segments {
  std::vector<std::int64_t> first, order;
};

template <class I>
Segments segments_of(const I* indices, std::int64_t count, std::int64_t size) {
  Segments s;
  s.first.assign(static_cast<std::size_t>(size + 1), 0);
  s.order.resize(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) ++s.first[static_cast<std::size_t>(indices[i])];
  std::int64_t end = 0;
  for (std::int64_t& first : s.first) end = first += end;  // now the end of each segment
  for (std::int64_t i = count; i-- > 0;)
    s.order[static_cast<std::size_t>(--s.first[static_cast<std::size_t>(indices[i])])] = i;
  return s;
}

}  // namespace

void check_indices(std::string_view op, const Tensor& indices, std::int64_t size) {
  for_index_dtype(indices.dtype(), [&]<class I>() {
    const auto values = indices.host<I>();
    const auto wrong = std::ranges::find_if(values, [&](I v) { return v < 0 || v >= size; });
    SMX_CHECK(wrong == values.end(), "[{}] indices[{}] = {} is outside [0, {})", op, wrong - values.begin(),
              *wrong, size);
  });
}

void select_rows_forward(const Tensor& x, const Tensor& indices, const Tensor& y) {
  const std::int64_t width = x.shape().inner(0);
  for_dtype(x.dtype(), [&]<class T>() {
    for_index_dtype(indices.dtype(), [&]<class I>() {
      const T* from = x.data<T>();
      const I* index = indices.data<I>();
      T* to = y.data<T>();
      parallel_rows(indices.numel(), width,
                    [&](std::int64_t i) { std::copy_n(from + index[i] * width, width, to + i * width); });
    });
  });
}

void select_rows_backward(const Tensor& dy, const Tensor& indices, GradTarget dx) {
  constexpr std::int64_t kLine = 16;  // columns of a cache line: fewer for a thread would share it
  const std::int64_t size = dx.buffer.size(0), width = dx.buffer.shape().inner(0);
  const Segments segments = for_index_dtype(
      indices.dtype(), [&]<class I>() { return segments_of(indices.data<I>(), indices.numel(), size); });
  for_float_dtype(dy.dtype(), [&]<class T>() {
    const T* from = dy.data<T>();
    T* to = dx.buffer.data<T>();
    // Threads own columns rather than rows: some rows (the letter e) are chosen far more often than others.
    const std::int64_t grain = std::max(kLine, kGrain / (indices.numel() + size + 1));
    parallel_for(width, grain, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t n = end - begin;
      std::vector<acc_t<T>> sums(static_cast<std::size_t>(n));
      for (std::int64_t v = 0; v < size; ++v) {
        const std::int64_t first = segments.first[static_cast<std::size_t>(v)];
        const std::int64_t last = segments.first[static_cast<std::size_t>(v + 1)];
        T* row = to + v * width + begin;
        if (first == last) {
          if (!dx.accumulate) std::fill_n(row, n, T{});
          continue;
        }
        std::ranges::fill(sums, acc_t<T>{0});
        for (std::int64_t i = first; i < last; ++i)
          add_row(from + segments.order[static_cast<std::size_t>(i)] * width + begin, sums.data(), n);
        write_grads(sums.data(), row, n, dx.accumulate);
      }
    });
  });
}

void take_along_last_forward(const Tensor& x, const Tensor& indices, const Tensor& y) {
  const std::int64_t n = x.size(-1), k = indices.size(-1), rows = indices.shape().outer(-1);
  for_dtype(x.dtype(), [&]<class T>() {
    for_index_dtype(indices.dtype(), [&]<class I>() {
      const T* from = x.data<T>();
      const I* index = indices.data<I>();
      T* to = y.data<T>();
      parallel_rows(rows, k, [&](std::int64_t row) {
        for (std::int64_t j = 0; j < k; ++j) to[row * k + j] = from[row * n + index[row * k + j]];
      });
    });
  });
}

void take_along_last_backward(const Tensor& dy, const Tensor& indices, GradTarget dx) {
  const std::int64_t n = dx.buffer.size(-1), k = indices.size(-1), rows = indices.shape().outer(-1);
  for_float_dtype(dy.dtype(), [&]<class T>() {
    for_index_dtype(indices.dtype(), [&]<class I>() {
      const T* from = dy.data<T>();
      const I* index = indices.data<I>();
      T* to = dx.buffer.data<T>();
      const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (n + k + 1));
      parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
        std::vector<acc_t<T>> sums(static_cast<std::size_t>(n));  // an index may repeat within its row
        for (std::int64_t row = begin; row < end; ++row) {
          std::ranges::fill(sums, acc_t<T>{0});
          for (std::int64_t j = 0; j < k; ++j)
            sums[static_cast<std::size_t>(index[row * k + j])] += static_cast<acc_t<T>>(from[row * k + j]);
          write_grads(sums.data(), to + row * n, n, dx.accumulate);
        }
      });
    });
  });
}

}  // namespace simsmoe::cpu
