#include "ops/layout.hpp"

#include <numeric>

#include "engine/profile.hpp"
#include "ops/check.hpp"

// The mathematics of the family: every op is linear, y = A x with one entry 1 in each row of A, so that its
// backward pass is dx = A^T dy: what was moved moves back, what was repeated is summed, the rest is 0.

namespace simsmoe::ops {

Variable reshape(const Variable& x, Shape shape) {
  const profile::Scope scope("reshape");
  SMX_CHECK(shape.numel() == x.value().numel(), "[reshape] expected as many elements as {}, got {}",
            describe(x.value()), shape);
  //  dx = dy: A is the identity
  return record("reshape", {x}, x.value().view(shape), [device = x.device()](BackwardContext& ctx) {
    SMX_DISPATCH(reshape_backward, device, ctx.grad_output(), ctx.target(0));
  });
}

Variable permute(const Variable& x, const std::vector<int>& axes) {
  const profile::Scope scope("permute");
  const int rank = x.rank();
  SMX_CHECK(static_cast<int>(axes.size()) == rank, "[permute] expected {} axes for {}, got {}", rank,
            describe(x.value()), axes.size());
  std::vector<int> forward(axes.size()), inverse(axes.size(), -1);
  Shape shape = x.shape();
  for (int i = 0; i < rank; ++i) {
    const int axis = x.shape().normal_axis(axes[static_cast<std::size_t>(i)]);
    SMX_CHECK(inverse[static_cast<std::size_t>(axis)] < 0, "[permute] expected every axis once, got {} twice",
              axis);
    forward[static_cast<std::size_t>(i)] = axis;
    inverse[static_cast<std::size_t>(axis)] = i;
    shape = shape.with(i, x.size(axis));
  }
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  SMX_DISPATCH(permute, y.device(), x.value(), forward, GradTarget{y, false});
  //  y_i = x_axes(i)  =>  dx_axes(i) = dy_i: the inverse permutation
  return record("permute", {x}, y, [device = y.device(), inverse](BackwardContext& ctx) {
    SMX_DISPATCH(permute, device, ctx.grad_output(), inverse, ctx.target(0));
  });
}

Variable transpose(const Variable& x) {
  SMX_CHECK(x.rank() >= 2, "[transpose] expected at least two axes, got {}", describe(x.value()));
  std::vector<int> axes(static_cast<std::size_t>(x.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  std::swap(axes.back(), axes[axes.size() - 2]);
  return permute(x, axes);
}

Variable concat(const Variables& parts, int axis) {
  const profile::Scope scope("concat");
  SMX_CHECK(!parts.empty(), "[concat] expected at least one part, got none");
  const Variable& first = parts.front();
  SMX_CHECK(first.rank() >= 1, "[concat] expected at least one axis, got {}", describe(first.value()));
  axis = first.shape().normal_axis(axis);
  std::vector<Tensor> values;
  std::vector<std::int64_t> begins;
  std::int64_t size = 0;
  for (const Variable& part : parts) {
    check_alike("concat", first, part);
    SMX_CHECK(part.rank() == first.rank() && part.shape().with(axis, 0) == first.shape().with(axis, 0),
              "[concat] expected parts equal to {} outside of axis {}, got {}", describe(first.value()), axis,
              describe(part.value()));
    values.push_back(part.value());
    begins.push_back(size);
    size += part.size(axis);
  }
  Tensor y = Tensor::empty(first.shape().with(axis, size), first.dtype(), first.device());
  SMX_DISPATCH(concat, y.device(), values, axis, y);
  //  dpart_i = dy[begin_i : begin_i + n_i]
  return record("concat", parts, y, [device = y.device(), begins, axis](BackwardContext& ctx) {
    for (int i = 0; i < static_cast<int>(begins.size()); ++i) {
      if (!ctx.wants(i)) continue;
      SMX_DISPATCH(slice_forward, device, ctx.grad_output(), axis, begins[static_cast<std::size_t>(i)],
                   ctx.target(i));
    }
  });
}

Variable slice(const Variable& x, int axis, std::int64_t begin, std::int64_t end) {
  const profile::Scope scope("slice");
  axis = x.shape().normal_axis(axis);
  SMX_CHECK(0 <= begin && begin <= end && end <= x.size(axis),
            "[slice] expected 0 <= begin <= end <= {} along axis {} of {}, got [{}, {})", x.size(axis), axis,
            describe(x.value()), begin, end);
  Tensor y = Tensor::empty(x.shape().with(axis, end - begin), x.dtype(), x.device());
  SMX_DISPATCH(slice_forward, y.device(), x.value(), axis, begin, GradTarget{y, false});
  //  dx[begin : end] = dy, and 0 outside
  return record("slice", {x}, y, [device = y.device(), axis, begin](BackwardContext& ctx) {
    SMX_DISPATCH(slice_backward, device, ctx.grad_output(), axis, begin, ctx.target(0));
  });
}

Variable broadcast_to(const Variable& x, Shape shape) {
  const profile::Scope scope("broadcast_to");
  bool fits = x.rank() <= shape.rank();
  for (int i = 1; fits && i <= x.rank(); ++i) fits = x.size(-i) == shape[-i] || x.size(-i) == 1;
  SMX_CHECK(fits, "[broadcast_to] expected sizes that match {} from the last axis or are 1, got {}", shape,
            describe(x.value()));
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  SMX_DISPATCH(broadcast_forward, y.device(), x.value(), y);
  //  y_(i, r) = x_i for every repetition r  =>  dx_i = sum_r dy_(i, r)
  return record("broadcast_to", {x}, y, [device = y.device()](BackwardContext& ctx) {
    SMX_DISPATCH(broadcast_backward, device, ctx.grad_output(), ctx.target(0));
  });
}

}  // namespace simsmoe::ops
