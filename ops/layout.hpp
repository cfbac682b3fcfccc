#pragma once
// Ops that move elements without changing them. Tensors are contiguous, so that all but reshape copy.

#include <initializer_list>
#include <vector>

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

// The sizes that reshape is asked for; one of them may be -1, which stands for whatever is left.
class Sizes {
 public:
  Sizes(std::initializer_list<std::int64_t> sizes) : list_(sizes) {}
  Sizes(std::vector<std::int64_t> sizes) : list_(std::move(sizes)) {}
  Sizes(const Shape& shape) : list_(shape.dims().begin(), shape.dims().end()) {}
  const std::vector<std::int64_t>& list() const { return list_; }

 private:
  std::vector<std::int64_t> list_;
};

inline constexpr std::int64_t kEnd = INT64_MAX;  // slice: up to the end of the axis

Variable reshape(const Variable& x, const Sizes& sizes);  // same number of elements; shares the memory
Variable permute(const Variable& x, const std::vector<int>& axes);  // y's axis i is x's axis axes[i]
Variable transpose(const Variable& x);                              // the last two axes
Variable concat(const Variables& parts, int axis);                  // equal in all other axes
Variable stack(const Variables& parts, int axis = 0);  // equal shapes, side by side along a new axis

// [begin, end) along axis. A negative bound counts from the end: slice(x, 0, -3) has the last three rows.
Variable slice(const Variable& x, int axis, std::int64_t begin, std::int64_t end = kEnd);
// Neighbouring slices of the given sizes, which add up to that of the axis.
Variables split(const Variable& x, const std::vector<std::int64_t>& sizes, int axis);
// `count` slices of equal size.
Variables chunk(const Variable& x, std::int64_t count, int axis);

// `value` in the place of x, with the gradient of x: dx = dy, as if nothing had been done to it. For what is rounded,
// rescaled or chosen outside of the gradient (Bengio et al. 2013, arXiv 1308.3432). value: like x; shares its memory.
Variable straight_through(const Variable& x, const Tensor& value);

Variable broadcast_to(const Variable& x, Shape shape);  // NumPy rules; backward sums
// x: [..., n, n], with every element [..., i, i] replaced by `value`; its gradient there is 0.
Variable with_diagonal(const Variable& x, double value);

}  // namespace simsmoe::ops

// dy: [...] -> dx: as many elements, in any shape.
SMX_CPU_KERNEL(reshape_backward, (const Tensor& dy, GradTarget dx))
// x: [d0, d1, ...] -> y: [d(axes[0]), d(axes[1]), ...]; axes not negative.
SMX_CPU_KERNEL(permute, (const Tensor& x, const std::vector<int>& axes, GradTarget y))
// parts: [..., n_i, ...] -> y: [..., sum of n_i, ...]
SMX_CPU_KERNEL(concat, (const std::vector<Tensor>& parts, int axis, const Tensor& y))
// y[..., i, ...] = x[..., begin + i, ...] for every i that y has along axis.
SMX_CPU_KERNEL(slice_forward, (const Tensor& x, int axis, std::int64_t begin, GradTarget y))
// dx[..., begin + i, ...] = dy[..., i, ...], zero elsewhere.
SMX_CPU_KERNEL(slice_backward, (const Tensor& dy, int axis, std::int64_t begin, GradTarget dx))
// x: [...] -> y: a shape that x broadcasts to; backward sums dy over what was repeated.
SMX_CPU_KERNEL(broadcast_forward, (const Tensor& x, const Tensor& y))
SMX_CPU_KERNEL(broadcast_backward, (const Tensor& dy, GradTarget dx))
// y = x, but `value` on the diagonal. x, y: [..., n, n]
SMX_CPU_KERNEL(with_diagonal, (const Tensor& x, double value, GradTarget y))
