#include "ops/binary.hpp"

#include <algorithm>

#include "engine/profile.hpp"
#include "ops/check.hpp"

// All functions share one op: y = f(a, b), da = sum of f_a(a, b) * dy over the axes along which a
// repeats, and so for b.

namespace simsmoe {

Shape broadcast_shape(std::string_view op, const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::array<std::int64_t, Shape::kMaxRank> dims{};
  for (int axis = 1; axis <= rank; ++axis) {  // from the last
    const std::int64_t m = axis <= a.rank() ? a[-axis] : 1, n = axis <= b.rank() ? b[-axis] : 1;
    SMX_CHECK(m == n || m == 1 || n == 1,
              "[{}] expected sizes that are equal or 1, aligned at the last axis, got {} and {}", op, a, b);
    dims[static_cast<std::size_t>(rank - axis)] = m == 1 ? n : m;
  }
  return Shape(std::span(dims.data(), static_cast<std::size_t>(rank)));
}

BroadcastPlan broadcast_plan(const Shape& a, const Shape& b, const Shape& y) {
  BroadcastPlan plan;
  plan.numel = y.numel();
  std::int64_t stride_a = 1, stride_b = 1;
  for (int axis = 1; axis <= y.rank(); ++axis) {  // innermost first, reversed below
    const std::int64_t n = y[-axis], m_a = axis <= a.rank() ? a[-axis] : 1;
    const std::int64_t m_b = axis <= b.rank() ? b[-axis] : 1;
    const BroadcastAxis next{n, m_a == n ? stride_a : 0, m_b == n ? stride_b : 0};
    stride_a *= m_a;
    stride_b *= m_b;
    if (n == 1) continue;
    if (plan.count > 0) {
      BroadcastAxis& last = plan.axes[static_cast<std::size_t>(plan.count - 1)];
      const bool alike = (next.a == 0) == (last.a == 0) && (next.b == 0) == (last.b == 0);
      if (alike) {  // an operand that advances along both does so without a gap: it is contiguous
        last.size *= n;
        continue;
      }
    }
    plan.axes[static_cast<std::size_t>(plan.count++)] = next;
  }
  if (plan.count == 0) plan.axes[static_cast<std::size_t>(plan.count++)] = {1, 1, 1};
  std::reverse(plan.axes.begin(), plan.axes.begin() + plan.count);
  return plan;
}

namespace ops {

namespace {

Variable binary(std::string_view name, BinaryFunction function, const Variable& a, const Variable& b) {
  const profile::Scope scope(name);
  check_float(name, a);
  check_alike(name, a, b);
  const Shape shape = broadcast_shape(name, a.shape(), b.shape());
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  SMX_DISPATCH(binary_forward, y.device(), function, a.value(), b.value(), y);
  //  add: dy, dy    sub: dy, -dy    mul: b dy, a dy    div: dy / b, -a dy / b^2
  //  maximum: dy to the larger one, dy / 2 to each where they are equal; minimum likewise
  const bool linear = function == BinaryFunction::add || function == BinaryFunction::sub;
  const Tensor saved_a = linear ? Tensor{} : a.value(), saved_b = linear ? Tensor{} : b.value();
  const BroadcastPlan plan = broadcast_plan(a.shape(), b.shape(), shape);
  return record(name, {a, b}, y, [function, plan, saved_a, saved_b](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    for (const Operand operand : {Operand::a, Operand::b})
      if (const int input = static_cast<int>(operand); ctx.wants(input))
        SMX_DISPATCH(binary_backward, dy.device(), function, operand, plan, saved_a, saved_b, dy,
                     ctx.target(input));
  });
}

}  // namespace

Variable add(const Variable& a, const Variable& b) { return binary("add", BinaryFunction::add, a, b); }
Variable sub(const Variable& a, const Variable& b) { return binary("sub", BinaryFunction::sub, a, b); }
Variable mul(const Variable& a, const Variable& b) { return binary("mul", BinaryFunction::mul, a, b); }
Variable div(const Variable& a, const Variable& b) { return binary("div", BinaryFunction::div, a, b); }
Variable maximum(const Variable& a, const Variable& b) {
  return binary("maximum", BinaryFunction::maximum, a, b);
}
Variable minimum(const Variable& a, const Variable& b) {
  return binary("minimum", BinaryFunction::minimum, a, b);
}

}  // namespace ops

}  // namespace simsmoe
