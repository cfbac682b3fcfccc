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

// An index along an axis of a tensor x that is no smaller outside of it. Its entries form lines along the axis;
// lines share no element of x, so that threads share them out.
class Lines {
 public:
  Lines(const Shape& x, const Shape& index, int axis)
      : length_(index[axis]), stride_(index.inner(axis)), x_stride_(x.inner(axis)) {
    for (int i = 0; i < index.rank(); ++i) {
      if (i == axis) continue;
      sizes_.push_back(index[i]);
      x_strides_.push_back(x.inner(i));
      count_ *= index[i];
    }
  }

  // f(place of an entry in the index, place in x that it names); those of a line in order.
  template <class I, class F>
  void for_each_entry(const I* index, const F& f) const {
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (length_ + 1));
    parallel_for(count_, grain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<std::int64_t> first;  // where lines that lie side by side begin in x
      for (std::int64_t line = begin; line < end; line += std::ssize(first)) {
        first.clear();
        for (std::int64_t i = line; i < std::min(end, (line / stride_ + 1) * stride_); ++i)
          first.push_back(x_offset(i));
        std::int64_t row = line / stride_ * stride_ * length_ + line % stride_;
        for (std::int64_t j = 0; j < length_; ++j, row += stride_)
          for (std::int64_t i = 0; i < std::ssize(first); ++i)
            f(row + i,
              first[static_cast<std::size_t>(i)] + static_cast<std::int64_t>(index[row + i]) * x_stride_);
      }
    });
  }

 private:
  std::int64_t x_offset(std::int64_t line) const {
    std::int64_t offset = 0;
    for (std::size_t i = sizes_.size(); i-- > 0; line /= sizes_[i])
      offset += line % sizes_[i] * x_strides_[i];
    return offset;
  }

  std::int64_t length_, stride_, x_stride_;  // of a line: entries, and their distance in the index and in x
  std::vector<std::int64_t> sizes_, x_strides_;
  std::int64_t count_ = 1;
};

}  // namespace

void check_indices(std::string_view op, const Tensor& indices, std::int64_t size) {
  for_index_dtype(indices.dtype(), [&]<class I>() {
    const auto values = indices.host<const I>();
    const auto wrong = std::ranges::find_if(values, [&](I v) { return v < 0 || v >= size; });
    SMX_CHECK(wrong == values.end(), "[{}] indices[{}] = {} is outside [0, {})", op, wrong - values.begin(),
              *wrong, size);
  });
}

void select_forward(const Tensor& x, AxisView view, const Tensor& indices, const Tensor& y) {
  const std::int64_t m = indices.numel(), width = view.inner;
  for_dtype(x.dtype(), [&]<class T>() {
    for_index_dtype(indices.dtype(), [&]<class I>() {
      const T* from = x.data<T>();
      const I* index = indices.data<I>();
      T* to = y.data<T>();
      parallel_rows(view.outer * m, width, [&](std::int64_t row) {
        std::copy_n(from + (row / m * view.n + index[row % m]) * width, width, to + row * width);
      });
    });
  });
}

void select_backward(const Tensor& dy, AxisView view, const Tensor& indices, GradTarget dx) {
  constexpr std::int64_t kLine = 16;  // columns of a cache line: fewer for a thread would share it
  const std::int64_t size = view.n, width = view.inner, m = indices.numel();
  const Segments segments =
      for_index_dtype(indices.dtype(), [&]<class I>() { return segments_of(indices.data<I>(), m, size); });
  for_float_dtype(dy.dtype(), [&]<class T>() {
    // Threads own columns rather than rows: some rows (the letter e) are chosen far more often than others.
    const std::int64_t grain = std::max(kLine, kGrain / (m + size + 1));
    parallel_for(view.outer * width, grain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<acc_t<T>> sums(static_cast<std::size_t>(std::min(width, end - begin)));
      for (std::int64_t column = begin, n = 0; column < end; column += n) {
        n = std::min(width - column % width, end - column);  // those of one o
        const T* from = dy.data<T>() + column / width * m * width + column % width;
        T* to = dx.buffer.data<T>() + column / width * size * width + column % width;
        for (std::int64_t v = 0; v < size; ++v) {
          const std::int64_t first = segments.first[static_cast<std::size_t>(v)];
          const std::int64_t last = segments.first[static_cast<std::size_t>(v + 1)];
          if (first == last) {
            if (!dx.accumulate) std::fill_n(to + v * width, n, T{});
            continue;
          }
          std::ranges::fill(sums, acc_t<T>{0});
          for (std::int64_t i = first; i < last; ++i)
            add_row(from + segments.order[static_cast<std::size_t>(i)] * width, sums.data(), n);
          write_grads(sums.data(), to + v * width, n, dx.accumulate);
        }
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

void gather_along(const Tensor& x, const Tensor& index, int axis, GradTarget y) {
  const Lines lines(x.shape(), index.shape(), axis);
  for_float_dtype(x.dtype(), [&]<class T>() {
    for_index_dtype(index.dtype(), [&]<class I>() {
      const T* from = x.data<T>();
      T* to = y.buffer.data<T>();
      lines.for_each_entry(index.data<I>(), [&](std::int64_t place, std::int64_t x_place) {
        write_grad(to[place], static_cast<acc_t<T>>(from[x_place]), y.accumulate);
      });
    });
  });
}

void scatter_along(const Tensor& source, const Tensor& index, int axis, GradTarget y) {
  const Lines lines(y.buffer.shape(), index.shape(), axis);
  for_float_dtype(source.dtype(), [&]<class T>() {
    for_index_dtype(index.dtype(), [&]<class I>() {
      const T* from = source.data<T>();
      std::vector<acc_t<T>> sums(static_cast<std::size_t>(y.buffer.numel()), acc_t<T>{0});
      lines.for_each_entry(index.data<I>(), [&](std::int64_t place, std::int64_t y_place) {
        sums[static_cast<std::size_t>(y_place)] += static_cast<acc_t<T>>(from[place]);
      });
      T* to = y.buffer.data<T>();
      parallel_elements(y.buffer.numel(), [&](std::int64_t begin, std::int64_t end) {
        write_grads(sums.data() + begin, to + begin, end - begin, y.accumulate);
      });
    });
  });
}

void one_hot(const Tensor& indices, const Tensor& y) {
  const std::int64_t n = y.size(-1);
  for_index_dtype(indices.dtype(), [&]<class I>() {
    const auto chosen = indices.host<const I>();
    const auto wrong = std::ranges::find_if(chosen, [&](I v) { return v < -1 || v >= n; });
    SMX_CHECK(wrong == chosen.end(), "[one_hot] indices[{}] = {} is outside [-1, {})", wrong - chosen.begin(),
              *wrong, n);
    for_dtype(y.dtype(), [&]<class T>() {
      T* to = y.data<T>();
      parallel_rows(std::ssize(chosen), n, [&](std::int64_t row) {
        std::fill_n(to + row * n, n, T{});
        const std::int64_t one = chosen[static_cast<std::size_t>(row)];
        if (one >= 0) to[row * n + one] = static_cast<T>(acc_t<T>{1});
      });
    });
  });
}

void arange(const Tensor& y) {
  for_dtype(y.dtype(), [&]<class T>() {
    T* to = y.data<T>();
    parallel_elements(y.numel(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) to[i] = static_cast<T>(static_cast<acc_t<T>>(i));
    });
  });
}

}  // namespace simsmoe::cpu
