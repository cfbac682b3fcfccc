#include "ops/index.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"
#include "ops/layout.hpp"

// The mathematics of the family: y = P x, where each row of P has one 1 in the column that the index names.
// Hence dx = P^T dy: an entry of x receives the sum over all places where it was read, and 0 when there is
// none. The chosen numbers themselves have no gradient.

namespace simsmoe::ops {

namespace {

void check_place(std::string_view op, const Tensor& x, const Tensor& indices) {
  check_index(op, indices);
  SMX_CHECK(indices.device() == x.device(), "[{}] expected both on one device, got {} and {}", op,
            describe(x), describe(indices));
}

// y[..., i, ...] = x[..., indices[i], ...], with `shape` for y; the common part of embedding and
// index_select.
Variable select(std::string_view op, const Variable& x, AxisView view, const Tensor& indices,
                const Shape& shape) {
  SMX_DISPATCH(check_indices, indices.device(), op, indices, view.n);
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  SMX_DISPATCH(select_forward, y.device(), x.value(), view, indices, y);
  //  y_i = x_indices(i)  =>  dx_v = sum over i with indices(i) = v of dy_i
  return record(op, {x}, y, [view, indices](BackwardContext& ctx) {
    SMX_DISPATCH(select_backward, indices.device(), ctx.grad_output(), view, indices, ctx.target(0));
  });
}

// The axis of an index_select, counted from the first.
int check_selection(const Tensor& x, const Tensor& indices, int axis) {
  check_place("index_select", x, indices);
  SMX_CHECK(x.rank() >= 1 && indices.rank() == 1,
            "[index_select] expected x [n, ...] and indices [m], got {} and {}", describe(x),
            describe(indices));
  return check_axis("index_select", x, axis);
}

// The axis of a gather or scatter_add, counted from the first.
int check_places(std::string_view op, const Tensor& x, int axis, const Tensor& index) {
  check_place(op, x, index);
  axis = check_axis(op, x, axis);
  bool fits = x.rank() == index.rank();
  for (int i = 0; fits && i < x.rank(); ++i) fits = i == axis || index.size(i) <= x.size(i);
  SMX_CHECK(fits, "[{}] expected an index no larger than {} outside of axis {}, got {}", op, describe(x),
            axis, describe(index));
  SMX_DISPATCH(check_indices, index.device(), op, index, x.size(axis));
  return axis;
}

}  // namespace

Variable embedding(const Variable& weight, const Tensor& ids) {
  const profile::Scope scope("embedding");
  check_float("embedding", weight);
  check_place("embedding", weight.value(), ids);
  SMX_CHECK(weight.rank() == 2, "[embedding] expected weight [V, D], got {}", describe(weight.value()));
  return select("embedding", weight, view_from(weight.shape(), 0), ids, ids.shape().append(weight.size(1)));
}

Variable index_select(const Variable& x, const Tensor& indices, int axis) {
  const profile::Scope scope("index_select");
  check_float("index_select", x);
  axis = check_selection(x.value(), indices, axis);
  return select("index_select", x, view_from(x.shape(), axis), indices,
                x.shape().with(axis, indices.size(0)));
}

Tensor index_select(const Tensor& x, const Tensor& indices, int axis) {
  const profile::Scope scope("index_select");
  check_defined("index_select", x);
  axis = check_selection(x, indices, axis);
  SMX_DISPATCH(check_indices, indices.device(), "index_select", indices, x.size(axis));
  Tensor y = Tensor::empty(x.shape().with(axis, indices.size(0)), x.dtype(), x.device());
  SMX_DISPATCH(select_forward, y.device(), x, view_from(x.shape(), axis), indices, y);
  return y;
}

Variable take_along_last(const Variable& x, const Tensor& indices) {
  const profile::Scope scope("take_along_last");
  check_float("take_along_last", x);
  check_place("take_along_last", x.value(), indices);
  SMX_CHECK(
      x.rank() >= 1 && x.rank() == indices.rank() && x.shape().without(-1) == indices.shape().without(-1),
      "[take_along_last] expected x [..., n] and indices [..., k] with equal leading axes, got {} and {}",
      describe(x.value()), describe(indices));
  SMX_DISPATCH(check_indices, indices.device(), "take_along_last", indices, x.size(-1));
  Tensor y = Tensor::empty(indices.shape(), x.dtype(), x.device());
  SMX_DISPATCH(take_along_last_forward, y.device(), x.value(), indices, y);
  //  y_(r, j) = x_(r, indices(r, j))  =>  dx_(r, i) = sum over j with indices(r, j) = i of dy_(r, j)
  return record("take_along_last", {x}, y, [indices](BackwardContext& ctx) {
    SMX_DISPATCH(take_along_last_backward, indices.device(), ctx.grad_output(), indices, ctx.target(0));
  });
}

Variable gather(const Variable& x, int axis, const Tensor& index) {
  const profile::Scope scope("gather");
  check_float("gather", x);
  axis = check_places("gather", x.value(), axis, index);
  Tensor y = Tensor::empty(index.shape(), x.dtype(), x.device());
  SMX_DISPATCH(gather_along, y.device(), x.value(), index, axis, GradTarget{y, false});
  //  y = P x  =>  dx = P^T dy: every dy is added to where its y came from
  return record("gather", {x}, y, [index, axis](BackwardContext& ctx) {
    SMX_DISPATCH(scatter_along, index.device(), ctx.grad_output(), index, axis, ctx.target(0));
  });
}

Variable scatter_add(const Variable& x, int axis, const Tensor& index, const Variable& source) {
  const profile::Scope scope("scatter_add");
  check_float("scatter_add", x);
  check_alike("scatter_add", x, source);
  axis = check_places("scatter_add", x.value(), axis, index);
  SMX_CHECK(source.shape() == index.shape(), "[scatter_add] expected a source {} for the index, got {}",
            index.shape(), describe(source.value()));
  Tensor y = x.value().clone();
  SMX_DISPATCH(scatter_along, y.device(), source.value(), index, axis, GradTarget{y, true});
  //  y = x + P^T source  =>  dx = dy, dsource = P dy
  return record("scatter_add", {x, source}, y, [index, axis](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    if (ctx.wants(0)) SMX_DISPATCH(reshape_backward, dy.device(), dy, ctx.target(0));
    if (ctx.wants(1)) SMX_DISPATCH(gather_along, dy.device(), dy, index, axis, ctx.target(1));
  });
}

Tensor one_hot(const Tensor& indices, std::int64_t n, DType dtype) {
  const profile::Scope scope("one_hot");
  check_index("one_hot", indices);
  SMX_CHECK(n >= 0, "[one_hot] expected n >= 0, got {}", n);
  Tensor y = Tensor::empty(indices.shape().append(n), dtype, indices.device());
  SMX_DISPATCH(one_hot, y.device(), indices, y);
  return y;
}

Tensor arange(std::int64_t n, DType dtype, Device device) {
  const std::int64_t most = dtype == DType::u8    ? 256
                            : dtype == DType::i32 ? std::int64_t{1} << 31
                                                  : INT64_MAX;
  SMX_CHECK(0 <= n && n <= most, "[arange] expected 0 <= n <= {} for {}, got {}", most, name_of(dtype), n);
  Tensor y = Tensor::empty({n}, dtype, device);
  SMX_DISPATCH(arange, device, y);
  return y;
}

}  // namespace simsmoe::ops
