#include "ops/index.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"

// The mathematics of the family: y = P x, where each row of P has one 1 in the column that the index names.
// Hence dx = P^T dy: an entry of x receives the sum over all places where it was read, and 0 when there is
// none. The chosen numbers themselves have no gradient.

namespace simsmoe::ops {

namespace {

// y[i, ...] = x[indices[i], ...], with `shape` for y; the common part of embedding and index_select.
Variable select_rows(std::string_view op, const Variable& x, const Tensor& indices, const Shape& shape) {
  SMX_DISPATCH(check_indices, indices.device(), op, indices, x.size(0));
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  SMX_DISPATCH(select_rows_forward, y.device(), x.value(), indices, y);
  //  y_i = x_indices(i)  =>  dx_v = sum over i with indices(i) = v of dy_i
  return record(op, {x}, y, [indices](BackwardContext& ctx) {
    SMX_DISPATCH(select_rows_backward, indices.device(), ctx.grad_output(), indices, ctx.target(0));
  });
}

void check_place(std::string_view op, const Variable& x, const Tensor& indices) {
  check_index(op, indices);
  SMX_CHECK(indices.device() == x.device(), "[{}] expected both on one device, got {} and {}", op,
            describe(x.value()), describe(indices));
}

}  // namespace

Variable embedding(const Variable& weight, const Tensor& ids) {
  const profile::Scope scope("embedding");
  check_float("embedding", weight);
  check_place("embedding", weight, ids);
  SMX_CHECK(weight.rank() == 2, "[embedding] expected weight [V, D], got {}", describe(weight.value()));
  return select_rows("embedding", weight, ids, ids.shape().append(weight.size(1)));
}

Variable index_select(const Variable& x, const Tensor& indices) {
  const profile::Scope scope("index_select");
  check_float("index_select", x);
  check_place("index_select", x, indices);
  SMX_CHECK(x.rank() >= 1 && indices.rank() == 1,
            "[index_select] expected x [n, ...] and indices [m], got {} and {}", describe(x.value()),
            describe(indices));
  return select_rows("index_select", x, indices, x.shape().with(0, indices.size(0)));
}

Variable take_along_last(const Variable& x, const Tensor& indices) {
  const profile::Scope scope("take_along_last");
  check_float("take_along_last", x);
  check_place("take_along_last", x, indices);
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

}  // namespace simsmoe::ops
