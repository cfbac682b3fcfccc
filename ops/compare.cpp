#include "ops/compare.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"
#include "ops/layout.hpp"

namespace simsmoe::ops {

namespace {

Tensor compared(std::string_view op, Comparison comparison, const Tensor& a, const Tensor& b) {
  const profile::Scope scope(op);
  check_alike(op, a, b);
  Tensor mask = Tensor::empty(broadcast_shape(op, a.shape(), b.shape()), DType::u8, a.device());
  SMX_DISPATCH(compare, mask.device(), comparison, a, b, mask);
  return mask;
}

}  // namespace

// Exchanged operands, not a negated comparison: NaN is neither greater nor less_equal.
Tensor less(const Tensor& a, const Tensor& b) { return compared("less", Comparison::less, a, b); }
Tensor less_equal(const Tensor& a, const Tensor& b) {
  return compared("less_equal", Comparison::less_equal, a, b);
}
Tensor greater(const Tensor& a, const Tensor& b) { return compared("greater", Comparison::less, b, a); }
Tensor greater_equal(const Tensor& a, const Tensor& b) {
  return compared("greater_equal", Comparison::less_equal, b, a);
}
Tensor equal(const Tensor& a, const Tensor& b) { return compared("equal", Comparison::equal, a, b); }
Tensor not_equal(const Tensor& a, const Tensor& b) {
  return compared("not_equal", Comparison::not_equal, a, b);
}

Variable where(const Tensor& mask, const Variable& a, const Variable& b) {
  const profile::Scope scope("where");
  check_float("where", a);
  check_alike("where", a, b);
  SMX_CHECK(mask.defined() && mask.dtype() == DType::u8 && mask.device() == a.device(),
            "[where] expected a mask u8 on the device of {}, got {}", describe(a.value()), describe(mask));
  const Shape shape = broadcast_shape("where", mask.shape(), broadcast_shape("where", a.shape(), b.shape()));
  Tensor wide = mask;
  if (mask.shape() != shape) {
    wide = Tensor::empty(shape, DType::u8, mask.device());
    SMX_DISPATCH(broadcast_forward, mask.device(), mask, wide);
  }
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  SMX_DISPATCH(where_forward, y.device(), wide, a.value(), b.value(), y);
  //  da = dy where the mask is set and db = dy where it is not, 0 elsewhere, summed over repeated axes
  const BroadcastPlan plan = broadcast_plan(a.shape(), b.shape(), shape);
  return record("where", {a, b}, y, [wide, plan](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    for (const Operand operand : {Operand::a, Operand::b})
      if (const int input = static_cast<int>(operand); ctx.wants(input))
        SMX_DISPATCH(where_backward, dy.device(), wide, operand, plan, dy, ctx.target(input));
  });
}

}  // namespace simsmoe::ops
