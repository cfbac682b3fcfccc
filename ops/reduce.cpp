#include "ops/reduce.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"

// sum and mean over all or one axis are one op with a factor; what differs is the view of x.

namespace simsmoe::ops {

namespace {

AxisView view_from(const Shape& shape, int axis) {
  return {shape.outer(axis), shape[axis], shape.inner(axis)};
}

Shape reduced_shape(const Shape& shape, int axis, bool keep) {
  return keep ? shape.with(axis, 1) : shape.without(axis);
}

Variable weighted_sum(std::string_view name, const Variable& x, AxisView view, double factor, Shape shape) {
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  SMX_DISPATCH(sum_forward, y.device(), x.value(), view, factor, y);
  //  dx[o, j, i] = factor * dy[o, i]
  return record(name, {x}, y, [view, factor](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    SMX_DISPATCH(sum_backward, dy.device(), dy, view, factor, ctx.target(0));
  });
}

}  // namespace

Variable sum(const Variable& x) {
  const profile::Scope scope("sum");
  check_float("sum", x);
  return weighted_sum("sum", x, {1, x.value().numel(), 1}, 1.0, {});
}

Variable sum(const Variable& x, int axis, bool keep) {
  const profile::Scope scope("sum");
  check_float("sum", x);
  return weighted_sum("sum", x, view_from(x.shape(), axis), 1.0, reduced_shape(x.shape(), axis, keep));
}

Variable mean(const Variable& x) {
  const profile::Scope scope("mean");
  check_float("mean", x);
  const std::int64_t n = x.value().numel();
  SMX_CHECK(n > 0, "[mean] expected at least one element, got {}", describe(x.value()));
  return weighted_sum("mean", x, {1, n, 1}, 1.0 / static_cast<double>(n), {});
}

Variable mean(const Variable& x, int axis, bool keep) {
  const profile::Scope scope("mean");
  check_float("mean", x);
  const AxisView view = view_from(x.shape(), axis);
  SMX_CHECK(view.n > 0, "[mean] expected at least one element along axis {}, got {}", axis,
            describe(x.value()));
  return weighted_sum("mean", x, view, 1.0 / static_cast<double>(view.n),
                      reduced_shape(x.shape(), axis, keep));
}

Variable max(const Variable& x, int axis, bool keep) {
  const profile::Scope scope("max");
  check_float("max", x);
  const AxisView view = view_from(x.shape(), axis);
  SMX_CHECK(view.n > 0, "[max] expected at least one element along axis {}, got {}", axis,
            describe(x.value()));
  const Shape shape = reduced_shape(x.shape(), axis, keep);
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  Tensor where = Tensor::empty(shape, DType::i64, x.device());
  SMX_DISPATCH(max_forward, y.device(), x.value(), view, y, where);
  //  dx[o, j, i] = dy[o, i] where j is the place of the maximum, else 0
  return record("max", {x}, y, [view, where](BackwardContext& ctx) {
    SMX_DISPATCH(max_backward, where.device(), ctx.grad_output(), where, view, ctx.target(0));
  });
}

}  // namespace simsmoe::ops
