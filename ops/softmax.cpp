#include "ops/softmax.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"
#include "ops/layout.hpp"

// The mathematics of the family. Every op subtracts the row's maximum before exp, so nothing overflows. Other
// axes than the last become rows first: permuted behind the others, and several made one.

namespace simsmoe::ops {

namespace {

// The axes of a softmax, checked like its rows: something to choose from.
AxisChoice choose(std::string_view op, const Variable& x, const Axes& axes) {
  check_float(op, x);
  SMX_CHECK(x.rank() >= 1, "[{}] expected [..., n] with n >= 1, got {}", op, describe(x.value()));
  AxisChoice choice = choose_axes(op, x, axes);
  SMX_CHECK(chosen_numel(x.shape(), choice) >= 1,
            "[{}] expected [..., n] with n >= 1 along the chosen axes, got {}", op, describe(x.value()));
  return choice;
}

bool is_last_axis(const Variable& x, const AxisChoice& choice) {
  return choice.chosen.size() == 1 && choice.chosen.front() == x.rank() - 1;
}

// x: [...] -> [rows, n] with the chosen axes along n.
Variable as_rows(const Variable& x, const AxisChoice& choice) {
  const std::int64_t n = chosen_numel(x.shape(), choice);
  return reshape(with_chosen_last(x, choice), {x.value().numel() / n, n});
}

// f, which works along the last axis, along others; f keeps the shape.
template <class F>
Variable along(const Variable& x, const AxisChoice& choice, const F& f) {
  Shape moved = x.shape();
  int i = 0;
  for (const int axis : choice.others) moved = moved.with(i++, x.size(axis));
  for (const int axis : choice.chosen) moved = moved.with(i++, x.size(axis));
  return from_chosen_last(reshape(f(as_rows(x, choice)), moved), choice);
}

}  // namespace

Variable softmax(const Variable& x, const Axes& axes) {
  const profile::Scope scope("softmax");
  const AxisChoice choice = choose("softmax", x, axes);
  if (!is_last_axis(x, choice)) return along(x, choice, [](const Variable& rows) { return softmax(rows); });
  Tensor y = Tensor::empty_like(x.value());
  SMX_DISPATCH(softmax_forward, y.device(), x.value(), y);
  //  dx = y * (dy - sum(dy * y)): the Jacobian is diag(y) - y y^T, so x itself is not needed
  return record("softmax", {x}, y, [y](BackwardContext& ctx) {
    SMX_DISPATCH(softmax_backward, y.device(), y, ctx.grad_output(), ctx.target(0));
  });
}

Variable log_softmax(const Variable& x, const Axes& axes) {
  const profile::Scope scope("log_softmax");
  const AxisChoice choice = choose("log_softmax", x, axes);
  if (!is_last_axis(x, choice))
    return along(x, choice, [](const Variable& rows) { return log_softmax(rows); });
  Tensor y = Tensor::empty_like(x.value());
  SMX_DISPATCH(log_softmax_forward, y.device(), x.value(), y);
  //  dx = dy - exp(y) * sum(dy): the Jacobian is I - 1 softmax(x)^T
  return record("log_softmax", {x}, y, [y](BackwardContext& ctx) {
    SMX_DISPATCH(log_softmax_backward, y.device(), y, ctx.grad_output(), ctx.target(0));
  });
}

Variable logsumexp(const Variable& x, const Axes& axes, bool keep) {
  const profile::Scope scope("logsumexp");
  const AxisChoice choice = choose("logsumexp", x, axes);
  if (keep || !is_last_axis(x, choice))
    return reshape(logsumexp(as_rows(x, choice)), reduced_shape(x.shape(), choice, keep));
  Tensor lse = Tensor::empty(x.shape().without(-1), x.dtype(), x.device());
  SMX_DISPATCH(logsumexp_forward, lse.device(), x.value(), lse);
  //  dx = softmax(x) * dlse, from x alone: exp(x - lse) would multiply the rounding of a large lse.
  //  Where lse is infinite dx is exp(x - lse) * dlse: NaN at what is infinite alike, 0 beside it
  return record("logsumexp", {x}, lse, [x = x.value()](BackwardContext& ctx) {
    SMX_DISPATCH(logsumexp_backward, x.device(), x, ctx.grad_output(), ctx.target(0));
  });
}

}  // namespace simsmoe::ops
