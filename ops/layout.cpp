#include "ops/layout.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "engine/profile.hpp"
#include "ops/check.hpp"

// The mathematics of the family: every op is linear, y = A x with one entry 1 in each row of A, so that its
// backward pass is dx = A^T dy: what was moved moves back, what was repeated is summed, the rest is 0. (In
// with_diagonal the rows of the diagonal are 0, and a constant is added.)

namespace simsmoe::ops {

namespace {

// The shape that `sizes` ask of the elements of x.
Shape resolve(const Variable& x, const Sizes& sizes) {
  const std::int64_t n = x.value().numel();
  std::vector<std::int64_t> dims = sizes.list();
  const auto open = std::ranges::find(dims, -1);
  if (open != dims.end()) *open = 1;
  SMX_CHECK(std::ranges::all_of(dims, [](std::int64_t d) { return d >= 0; }),
            "[reshape] expected sizes, of which one may be -1, got [{}]", fmt::join(sizes.list(), ", "));
  if (open != dims.end()) {
    const std::int64_t rest = Shape(dims).numel();
    SMX_CHECK(rest > 0 && n % rest == 0, "[reshape] expected sizes that divide the elements of {}, got [{}]",
              describe(x.value()), fmt::join(sizes.list(), ", "));
    *open = n / rest;
  }
  const Shape shape(dims);
  SMX_CHECK(shape.numel() == n, "[reshape] expected as many elements as {}, got {}", describe(x.value()),
            shape);
  return shape;
}

}  // namespace

Variable reshape(const Variable& x, const Sizes& sizes) {
  const profile::Scope scope("reshape");
  check_defined("reshape", x);
  //  dx = dy: A is the identity
  return record("reshape", {x}, x.value().view(resolve(x, sizes)),
                [device = x.device()](BackwardContext& ctx) {
                  SMX_DISPATCH(reshape_backward, device, ctx.grad_output(), ctx.target(0));
                });
}

Variable straight_through(const Variable& x, const Tensor& value) {
  const profile::Scope scope("straight_through");
  check_float("straight_through", x);
  check_alike("straight_through", x.value(), value);
  SMX_CHECK(value.shape() == x.shape(), "[straight_through] expected a value like {}, got {}",
            describe(x.value()), describe(value));
  //  dx = dy, whatever value is made of
  return record("straight_through", {x}, value, [device = x.device()](BackwardContext& ctx) {
    SMX_DISPATCH(reshape_backward, device, ctx.grad_output(), ctx.target(0));
  });
}

Variable permute(const Variable& x, const std::vector<int>& axes) {
  const profile::Scope scope("permute");
  check_defined("permute", x);
  const int rank = x.rank();
  SMX_CHECK(static_cast<int>(axes.size()) == rank, "[permute] expected {} axes for {}, got {}", rank,
            describe(x.value()), axes.size());
  std::vector<int> forward(axes.size()), inverse(axes.size(), -1);
  Shape shape = x.shape();
  for (int i = 0; i < rank; ++i) {
    const int axis = check_axis("permute", x, axes[static_cast<std::size_t>(i)]);
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
  check_defined("transpose", x);
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
  check_defined("concat", first);
  SMX_CHECK(first.rank() >= 1, "[concat] expected at least one axis, got {}", describe(first.value()));
  axis = check_axis("concat", first, axis);
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

Variable stack(const Variables& parts, int axis) {
  SMX_CHECK(!parts.empty(), "[stack] expected at least one part, got none");
  const Variable& first = parts.front();
  check_defined("stack", first);
  const int rank = first.rank() + 1;
  SMX_CHECK(-rank <= axis && axis < rank, "[stack] expected an axis of rank {}, got axis {}", rank, axis);
  std::vector<std::int64_t> sizes = Sizes(first.shape()).list();
  sizes.insert(sizes.begin() + (axis < 0 ? axis + rank : axis), 1);
  Variables rows;
  for (const Variable& part : parts) {
    check_alike("stack", first, part);
    SMX_CHECK(part.shape() == first.shape(), "[stack] expected parts equal to {}, got {}",
              describe(first.value()), describe(part.value()));
    rows.push_back(reshape(part, sizes));
  }
  return concat(rows, axis);
}

Variable slice(const Variable& x, int axis, std::int64_t begin, std::int64_t end) {
  const profile::Scope scope("slice");
  axis = check_axis("slice", x, axis);
  const std::int64_t n = x.size(axis), last = end == kEnd ? n : end;
  const std::int64_t from = begin < 0 ? begin + n : begin, to = last < 0 ? last + n : last;
  SMX_CHECK(
      0 <= from && from <= to && to <= n,
      "[slice] expected 0 <= begin <= end <= {} along axis {} of {} (or negative bounds, from the end), "
      "got [{}, {})",
      n, axis, describe(x.value()), begin, last);
  Tensor y = Tensor::empty(x.shape().with(axis, to - from), x.dtype(), x.device());
  SMX_DISPATCH(slice_forward, y.device(), x.value(), axis, from, GradTarget{y, false});
  //  dx[from : to] = dy, and 0 outside
  return record("slice", {x}, y, [device = y.device(), axis, from](BackwardContext& ctx) {
    SMX_DISPATCH(slice_backward, device, ctx.grad_output(), axis, from, ctx.target(0));
  });
}

Variables split(const Variable& x, const std::vector<std::int64_t>& sizes, int axis) {
  axis = check_axis("split", x, axis);
  SMX_CHECK(std::ranges::all_of(sizes, [](std::int64_t size) { return size >= 0; }) &&
                std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}) == x.size(axis),
            "[split] expected sizes that add up to {} along axis {} of {}, got {}", x.size(axis), axis,
            describe(x.value()), fmt::join(sizes, ", "));
  Variables parts;
  std::int64_t begin = 0;
  for (const std::int64_t size : sizes) {
    parts.push_back(slice(x, axis, begin, begin + size));
    begin += size;
  }
  return parts;
}

Variables chunk(const Variable& x, std::int64_t count, int axis) {
  axis = check_axis("chunk", x, axis);
  SMX_CHECK(count > 0 && x.size(axis) % count == 0,
            "[chunk] expected a number of parts that divides {} along axis {} of {}, got {}", x.size(axis),
            axis, describe(x.value()), count);
  return split(x, std::vector<std::int64_t>(static_cast<std::size_t>(count), x.size(axis) / count), axis);
}

Variable broadcast_to(const Variable& x, Shape shape) {
  const profile::Scope scope("broadcast_to");
  check_defined("broadcast_to", x);
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

Variable with_diagonal(const Variable& x, double value) {
  const profile::Scope scope("with_diagonal");
  check_float("with_diagonal", x);
  SMX_CHECK(x.rank() >= 2 && x.size(-1) == x.size(-2), "[with_diagonal] expected [..., n, n], got {}",
            describe(x.value()));
  Tensor y = Tensor::empty_like(x.value());
  SMX_DISPATCH(with_diagonal, y.device(), x.value(), value, GradTarget{y, false});
  //  dx = dy but 0 on the diagonal: what stands there does not depend on x
  return record("with_diagonal", {x}, y, [](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    SMX_DISPATCH(with_diagonal, dy.device(), dy, 0.0, ctx.target(0));
  });
}

}  // namespace simsmoe::ops
