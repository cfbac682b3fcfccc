#include "ops/reduce.hpp"

#include <algorithm>

#include "engine/profile.hpp"
#include "ops/check.hpp"
#include "ops/layout.hpp"

// A reduction works on a view [outer, n, inner] of x. One axis is such a view, all axes are, and so are
// neighbours; axes that are apart are first moved behind the others.

namespace simsmoe {

AxisChoice choose_axes(std::string_view op, const Variable& x, const ops::Axes& axes) {
  ops::check_defined(op, x);
  AxisChoice choice;
  for (const int axis : axes.list()) choice.chosen.push_back(ops::check_axis(op, x, axis));
  std::ranges::sort(choice.chosen);
  const auto twice = std::ranges::adjacent_find(choice.chosen);
  SMX_CHECK(twice == choice.chosen.end(), "[{}] expected every axis once, got {} twice", op, *twice);
  SMX_CHECK(axes.are_all() || !choice.chosen.empty(), "[{}] expected at least one axis of {}, got none", op,
            describe(x.value()));
  for (int axis = 0; axis < x.rank(); ++axis) {
    const bool chosen = axes.are_all() || std::ranges::binary_search(choice.chosen, axis);
    if (!chosen) choice.others.push_back(axis);
    if (axes.are_all()) choice.chosen.push_back(axis);
  }
  return choice;
}

Shape reduced_shape(const Shape& shape, const AxisChoice& choice, bool keep) {
  Shape reduced = shape;
  for (std::size_t i = choice.chosen.size(); i-- > 0;)  // from the last, so that numbers stay right
    reduced = keep ? reduced.with(choice.chosen[i], 1) : reduced.without(choice.chosen[i]);
  return reduced;
}

std::int64_t chosen_numel(const Shape& shape, const AxisChoice& choice) {
  std::int64_t n = 1;
  for (const int axis : choice.chosen) n *= shape[axis];
  return n;
}

namespace {

std::vector<int> chosen_last(const AxisChoice& choice) {
  std::vector<int> order(choice.others.begin(), choice.others.end());
  order.insert(order.end(), choice.chosen.begin(), choice.chosen.end());
  return order;
}

}  // namespace

Variable with_chosen_last(const Variable& x, const AxisChoice& choice) {
  const std::vector<int> order = chosen_last(choice);
  return std::ranges::is_sorted(order) ? x : ops::permute(x, order);
}

Variable from_chosen_last(const Variable& y, const AxisChoice& choice) {
  const std::vector<int> order = chosen_last(choice);
  if (std::ranges::is_sorted(order)) return y;
  std::vector<int> inverse(order.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    inverse[static_cast<std::size_t>(order[i])] = static_cast<int>(i);
  return ops::permute(y, inverse);
}

namespace ops {

namespace {

// What one reduction works on.
struct Reduction {
  std::string_view op;
  Variable x;
  AxisView view;
  Shape shape;  // of the result
};

Reduction over(std::string_view op, const Variable& x, const Axes& axes, bool keep) {
  check_float(op, x);
  const AxisChoice choice = choose_axes(op, x, axes);
  const std::int64_t n = chosen_numel(x.shape(), choice);
  const Shape shape = reduced_shape(x.shape(), choice, keep);
  if (choice.others.empty()) return {op, x, {1, n, 1}, shape};
  const int first = choice.chosen.front(), last = choice.chosen.back();
  if (last - first + 1 == static_cast<int>(choice.chosen.size()))
    return {op, x, {x.shape().outer(first), n, x.shape().inner(last)}, shape};
  return {op, with_chosen_last(x, choice), {shape.numel(), n, 1}, shape};
}

void check_not_empty(const Reduction& r) {
  SMX_CHECK(r.view.n > 0, "[{}] expected at least one element along what is reduced, got {}", r.op,
            describe(r.x.value()));
}

Tensor empty_result(const Reduction& r) { return Tensor::empty(r.shape, r.x.dtype(), r.x.device()); }

// Of the shape of the result, for the backward pass.
Tensor empty_statistic(const Reduction& r) { return Tensor::empty(r.shape, DType::f64, r.x.device()); }

Variable weighted_sum(const Reduction& r, double factor) {
  Tensor y = empty_result(r);
  SMX_DISPATCH(sum_forward, y.device(), r.x.value(), r.view, factor, y);
  //  dx[o, j, i] = factor * dy[o, i]
  return record(r.op, {r.x}, y, [view = r.view, factor](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    SMX_DISPATCH(sum_backward, dy.device(), dy, view, factor, ctx.target(0));
  });
}

Variable extremum(const Reduction& r, Extremum which) {
  check_not_empty(r);
  Tensor y = empty_result(r);
  Tensor where = Tensor::empty(r.shape, DType::i64, r.x.device());
  SMX_DISPATCH(extremum_forward, y.device(), which, r.x.value(), r.view, y, where);
  //  dx[o, j, i] = dy[o, i] where j is the place of the extremum, else 0
  return record(r.op, {r.x}, y, [view = r.view, where](BackwardContext& ctx) {
    SMX_DISPATCH(extremum_backward, where.device(), ctx.grad_output(), where, view, ctx.target(0));
  });
}

}  // namespace

Variable sum(const Variable& x, const Axes& axes, bool keep) {
  const profile::Scope scope("sum");
  return weighted_sum(over("sum", x, axes, keep), 1.0);
}

Variable mean(const Variable& x, const Axes& axes, bool keep) {
  const profile::Scope scope("mean");
  const Reduction r = over("mean", x, axes, keep);
  check_not_empty(r);
  return weighted_sum(r, 1.0 / static_cast<double>(r.view.n));
}

Variable max(const Variable& x, const Axes& axes, bool keep) {
  const profile::Scope scope("max");
  return extremum(over("max", x, axes, keep), Extremum::max);
}

Variable min(const Variable& x, const Axes& axes, bool keep) {
  const profile::Scope scope("min");
  return extremum(over("min", x, axes, keep), Extremum::min);
}

Variable var(const Variable& x, const Axes& axes, bool keep, double correction) {
  const profile::Scope scope("var");
  const Reduction r = over("var", x, axes, keep);
  const double count = static_cast<double>(r.view.n) - correction;
  SMX_CHECK(count > 0, "[{}] expected more than {} elements along what is reduced, got {}", r.op, correction,
            describe(r.x.value()));
  Tensor y = empty_result(r);
  const Tensor mean = empty_statistic(r);
  const double factor = 1.0 / count;
  SMX_DISPATCH(var_forward, y.device(), r.x.value(), r.view, factor, mean, y);
  //  y = factor sum_j (x_j - m)^2,  m = 1/n sum_j x_j
  //  dy/dx_k = 2 factor sum_j (x_j - m) (1[j = k] - 1/n) = 2 factor (x_k - m): the differences add up to 0
  return record(r.op, {r.x}, y, [x = r.x.value(), view = r.view, mean, factor](BackwardContext& ctx) {
    SMX_DISPATCH(var_backward, x.device(), x, mean, ctx.grad_output(), view, factor, ctx.target(0));
  });
}

Variable l2_norm(const Variable& x, const Axes& axes, bool keep) {
  const profile::Scope scope("l2_norm");
  const Reduction r = over("l2_norm", x, axes, keep);
  Tensor y = empty_result(r);
  const Tensor norm = empty_statistic(r);
  SMX_DISPATCH(l2_norm_forward, y.device(), r.x.value(), r.view, norm, y);
  //  y^2 = sum_j x_j^2  =>  2 y dy = sum_j 2 x_j dx_j  =>  dx_j = dy x_j / y, and 0 where y = 0
  return record(r.op, {r.x}, y, [x = r.x.value(), view = r.view, norm](BackwardContext& ctx) {
    SMX_DISPATCH(l2_norm_backward, x.device(), x, norm, ctx.grad_output(), view, ctx.target(0));
  });
}

Variable cumsum(const Variable& x, int axis) {
  const profile::Scope scope("cumsum");
  check_float("cumsum", x);
  const AxisView view = view_from(x.shape(), check_axis("cumsum", x, axis));
  Tensor y = Tensor::empty_like(x.value());
  SMX_DISPATCH(cumsum, y.device(), x.value(), view, false, GradTarget{y, false});
  //  y_j = sum_(i <= j) x_i  =>  dx_i = sum_(j >= i) dy_j: the running sum from the end
  return record("cumsum", {x}, y, [view](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    SMX_DISPATCH(cumsum, dy.device(), dy, view, true, ctx.target(0));
  });
}

}  // namespace ops

}  // namespace simsmoe
