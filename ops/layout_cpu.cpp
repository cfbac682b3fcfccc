#include <algorithm>
#include <span>

#include "ops/cpu_sums.hpp"
#include "ops/layout.hpp"

// Everything here is a walk over strided axes whose innermost step is one contiguous run (or one tile of a
// transposition). One thread writes an element, and sums run in index order: the same bits for any number.

namespace simsmoe::cpu {

namespace {

// One axis of an index space that two tensors share, with the distance of neighbours in each.
struct Axis {
  std::int64_t size, x_stride, y_stride;
};

// Row-major walk over some axes that keeps the offset into both tensors; begins at the `start`-th place.
class Walk {
 public:
  Walk(std::span<const Axis> axes, std::int64_t start) : axes_(axes), place_(axes.size()) {
    for (std::size_t i = axes.size(); i-- > 0; start /= axes[i].size) {
      place_[i] = start % axes[i].size;
      x_ += place_[i] * axes[i].x_stride;
      y_ += place_[i] * axes[i].y_stride;
    }
  }
  std::int64_t x() const { return x_; }
  std::int64_t y() const { return y_; }
  void next() {
    for (std::size_t i = axes_.size(); i-- > 0;) {
      const Axis& axis = axes_[i];
      x_ += axis.x_stride;
      y_ += axis.y_stride;
      if (++place_[i] < axis.size) return;
      place_[i] = 0;
      x_ -= axis.size * axis.x_stride;
      y_ -= axis.size * axis.y_stride;
    }
  }

 private:
  std::span<const Axis> axes_;
  std::vector<std::int64_t> place_;
  std::int64_t x_ = 0, y_ = 0;
};

// The axes of y from outermost to innermost, with the stride of x along each: neighbours that one stride
// describes are merged and axes of size 1 dropped, so that the innermost axis is as long as it can be.
std::vector<Axis> merged_axes(const Shape& y, std::span<const std::int64_t> x_strides) {
  std::vector<Axis> axes;
  for (int i = 0; i < y.rank(); ++i) {
    const Axis axis{y[i], x_strides[static_cast<std::size_t>(i)], y.inner(i)};
    if (axis.size == 1) continue;
    if (!axes.empty() && axes.back().x_stride == axis.size * axis.x_stride)
      axes.back() = {axes.back().size * axis.size, axis.x_stride, axis.y_stride};
    else
      axes.push_back(axis);
  }
  if (axes.empty()) axes.push_back({1, 1, 1});
  return axes;
}

std::int64_t count(std::span<const Axis> axes) {
  std::int64_t n = 1;
  for (const Axis& axis : axes) n *= axis.size;
  return n;
}

template <class T>
void write_run(const T* from, T* to, std::int64_t n, bool accumulate) {
  if (!accumulate) {
    std::copy_n(from, n, to);
    return;
  }
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) write_grad(to[i], static_cast<acc_t<T>>(from[i]), true);
}

// y = x with axes reordered and x's innermost axis still innermost: whole runs move.
template <class T>
void permute_runs(const T* x, std::span<const Axis> axes, T* y, bool accumulate) {
  const std::span<const Axis> outer = axes.first(axes.size() - 1);
  const std::int64_t run = axes.back().size;
  parallel_for(count(outer), std::max<std::int64_t>(1, kGrain / run),
               [&](std::int64_t begin, std::int64_t end) {
                 Walk walk(outer, begin);
                 for (std::int64_t row = begin; row < end; ++row, walk.next())
                   write_run(x + walk.x(), y + row * run, run, accumulate);
               });
}

// The innermost axes of x and y differ: tiles over these two, so small that the first cache holds both sides.
template <class T>
void permute_tiles(const T* x, std::span<const Axis> axes, T* y, bool accumulate) {
  constexpr std::int64_t kTile = 32;
  const Axis columns = axes.back();  // contiguous in y
  std::vector<Axis> outer(axes.begin(), axes.end() - 1);
  const auto inner_of_x = std::ranges::find(outer, std::int64_t{1}, &Axis::x_stride);
  const Axis rows = *inner_of_x;  // contiguous in x
  outer.erase(inner_of_x);
  const std::int64_t strips = (rows.size + kTile - 1) / kTile;
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (kTile * columns.size));
  parallel_for(count(outer) * strips, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const Walk walk(outer, item / strips);
      const std::int64_t row_begin = item % strips * kTile, row_end = std::min(row_begin + kTile, rows.size);
      for (std::int64_t first = 0; first < columns.size; first += kTile) {
        const std::int64_t last = std::min(first + kTile, columns.size);
        for (std::int64_t i = row_begin; i < row_end; ++i) {
          const T* from = x + walk.x() + i;
          T* to = y + walk.y() + i * rows.y_stride;
          for (std::int64_t j = first; j < last; ++j)
            write_grad(to[j], static_cast<acc_t<T>>(from[j * columns.x_stride]), accumulate);
        }
      }
    }
  });
}

// Strides of x along the axes of the shape y that it broadcasts to; 0 where x repeats.
std::vector<std::int64_t> broadcast_strides(const Shape& x, const Shape& y) {
  std::vector<std::int64_t> strides(static_cast<std::size_t>(y.rank()), 0);
  for (int i = 1; i <= x.rank(); ++i)
    if (x[-i] != 1) strides[static_cast<std::size_t>(y.rank() - i)] = x.inner(x.rank() - i);
  return strides;
}

}  // namespace

void reshape_backward(const Tensor& dy, GradTarget dx) {
  for_float_dtype(dy.dtype(), [&]<class T>() {
    const T* from = dy.data<T>();
    T* to = dx.buffer.data<T>();
    parallel_elements(dy.numel(), [&](std::int64_t begin, std::int64_t end) {
      write_run(from + begin, to + begin, end - begin, dx.accumulate);
    });
  });
}

void permute(const Tensor& x, const std::vector<int>& axes, GradTarget y) {
  if (x.numel() == 0) return;
  std::vector<std::int64_t> strides;
  strides.reserve(axes.size());
  for (const int axis : axes) strides.push_back(x.shape().inner(axis));
  const std::vector<Axis> merged = merged_axes(y.buffer.shape(), strides);
  for_dtype(x.dtype(), [&]<class T>() {
    if (merged.back().x_stride == 1)
      permute_runs(x.data<T>(), merged, y.buffer.data<T>(), y.accumulate);
    else
      permute_tiles(x.data<T>(), merged, y.buffer.data<T>(), y.accumulate);
  });
}

void concat(const std::vector<Tensor>& parts, int axis, const Tensor& y) {
  const std::int64_t outer = y.shape().outer(axis), inner = y.shape().inner(axis);
  const std::int64_t stride = y.size(axis) * inner;
  for_dtype(y.dtype(), [&]<class T>() {
    T* to = y.data<T>();
    for (const Tensor& part : parts) {
      const std::int64_t run = part.size(axis) * inner;
      const T* from = part.data<T>();
      parallel_rows(outer, run,
                    [&](std::int64_t row) { std::copy_n(from + row * run, run, to + row * stride); });
      to += run;
    }
  });
}

void slice_forward(const Tensor& x, int axis, std::int64_t begin, GradTarget y) {
  const std::int64_t outer = x.shape().outer(axis), inner = x.shape().inner(axis);
  const std::int64_t stride = x.size(axis) * inner, run = y.buffer.size(axis) * inner;
  for_dtype(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>() + begin * inner;
    T* to = y.buffer.data<T>();
    parallel_rows(outer, run, [&](std::int64_t row) {
      write_run(from + row * stride, to + row * run, run, y.accumulate);
    });
  });
}

void slice_backward(const Tensor& dy, int axis, std::int64_t begin, GradTarget dx) {
  const std::int64_t outer = dy.shape().outer(axis), inner = dy.shape().inner(axis);
  const std::int64_t stride = dx.buffer.size(axis) * inner, run = dy.size(axis) * inner;
  const std::int64_t before = begin * inner, after = stride - before - run;
  for_float_dtype(dy.dtype(), [&]<class T>() {
    const T* from = dy.data<T>();
    T* to = dx.buffer.data<T>();
    parallel_rows(outer, dx.accumulate ? run : stride, [&](std::int64_t row) {
      T* window = to + row * stride + before;
      if (!dx.accumulate) {
        std::fill_n(window - before, before, T{});
        std::fill_n(window + run, after, T{});
      }
      write_run(from + row * run, window, run, dx.accumulate);
    });
  });
}

void broadcast_forward(const Tensor& x, const Tensor& y) {
  if (y.numel() == 0) return;
  const std::vector<Axis> axes = merged_axes(y.shape(), broadcast_strides(x.shape(), y.shape()));
  const std::span<const Axis> outer = std::span(axes).first(axes.size() - 1);
  const std::int64_t run = axes.back().size;
  const bool repeats = axes.back().x_stride == 0;
  for_dtype(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.data<T>();
    parallel_for(count(outer), std::max<std::int64_t>(1, kGrain / run),
                 [&](std::int64_t begin, std::int64_t end) {
                   Walk walk(outer, begin);
                   for (std::int64_t row = begin; row < end; ++row, walk.next()) {
                     if (repeats)
                       std::fill_n(to + row * run, run, from[walk.x()]);
                     else
                       std::copy_n(from + walk.x(), run, to + row * run);
                   }
                 });
  });
}

void broadcast_backward(const Tensor& dy, GradTarget dx) {
  const Shape& shape = dx.buffer.shape();
  if (dx.buffer.numel() == 0) return;
  // Kept axes number the elements of dx, repeated ones what each of them sums. `dx` is the x of the axes, so
  // its own elements are visited in order.
  std::vector<Axis> kept, repeated;
  if (dy.numel() > 0)
    for (const Axis& axis : merged_axes(dy.shape(), broadcast_strides(shape, dy.shape())))
      (axis.x_stride == 0 ? repeated : kept).push_back(axis);
  const std::int64_t repeats = dy.numel() > 0 ? count(repeated) : 0;
  // Elements of dx that follow each other in dy are summed side by side, in vector lanes.
  const std::int64_t run = !kept.empty() && kept.back().y_stride == 1 ? kept.back().size : 1;
  if (run > 1) kept.pop_back();
  for_float_dtype(dy.dtype(), [&]<class T>() {
    const T* from = dy.data<T>();
    T* to = dx.buffer.data<T>();
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (repeats + 1));
    parallel_for(dx.buffer.numel(), grain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<acc_t<T>> sums(static_cast<std::size_t>(std::min(run, end - begin)));
      for (std::int64_t i = begin, n = 0; i < end; i += n) {
        n = std::min(run - i % run, end - i);
        const T* first = from + Walk(kept, i / run).y() + i % run;
        std::fill_n(sums.begin(), n, acc_t<T>{0});
        Walk walk(repeated, 0);
        for (std::int64_t r = 0; r < repeats; ++r, walk.next()) add_row(first + walk.y(), sums.data(), n);
        write_grads(sums.data(), to + i, n, dx.accumulate);
      }
    });
  });
}

void with_diagonal(const Tensor& x, double value, GradTarget y) {
  const std::int64_t n = x.size(-1);
  for_float_dtype(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.buffer.data<T>();
    parallel_rows(x.shape().outer(-1), n, [&](std::int64_t row) {
      const std::int64_t first = row * n, diagonal = first + row % n;
      write_run(from + first, to + first, diagonal - first, y.accumulate);
      write_grad(to[diagonal], static_cast<acc_t<T>>(value), y.accumulate);
      write_run(from + diagonal + 1, to + diagonal + 1, first + n - diagonal - 1, y.accumulate);
    });
  });
}

}  // namespace simsmoe::cpu
