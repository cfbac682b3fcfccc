#include "ops/matmul.hpp"

#include "engine/profile.hpp"
#include "ops/broadcast.hpp"
#include "ops/check.hpp"

// The mathematics of the family: every gradient of a product is a product again.

namespace simsmoe::ops {

namespace {

void check_bias(std::string_view op, const Variable& bias, const Variable& x, const Shape& expected) {
  if (!bias.defined()) return;
  check_alike(op, x, bias);
  SMX_CHECK(bias.shape() == expected, "[{}] expected bias {}, got {}", op, expected, describe(bias.value()));
}

void check_offsets(const Tensor& offsets, std::int64_t experts, std::int64_t rows) {
  SMX_CHECK(offsets.defined() && offsets.dtype() == DType::i64 && offsets.device().is_cpu() &&
                offsets.shape() == Shape({experts + 1}),
            "[grouped_matmul] expected offsets i64 [{}] on the host, got {}", experts + 1, describe(offsets));
  const auto bounds = offsets.host<const std::int64_t>();
  SMX_CHECK(bounds.front() == 0 && bounds.back() == rows,
            "[grouped_matmul] expected offsets from 0 to {}, got {} to {}", rows, bounds.front(),
            bounds.back());
  for (std::size_t e = 0; e + 1 < bounds.size(); ++e)
    SMX_CHECK(bounds[e] <= bounds[e + 1],
              "[grouped_matmul] expected offsets that do not decrease, got {} after {}", bounds[e + 1],
              bounds[e]);
}

GradTarget viewed(const GradTarget& target, const Shape& shape) {
  return {target.buffer.view(shape), target.accumulate};
}

// All axes but the last two.
Shape leading(const Tensor& x) { return x.shape().without(-1).without(-1); }

}  // namespace

Variable matmul(const Variable& a, const Variable& b, MatmulOptions options) {
  const profile::Scope scope("matmul");
  check_float("matmul", a);
  check_float("matmul", b);
  check_alike("matmul", a, b);
  SMX_CHECK(a.rank() >= 1 && b.rank() >= 1, "[matmul] expected vectors, matrices or more axes, got {} and {}",
            describe(a.value()), describe(b.value()));
  const bool row = a.rank() == 1, column = b.rank() == 1;
  const bool ta = options.transpose_a && !row, tb = options.transpose_b && !column;
  const Tensor left = row ? a.value().view({1, a.size(0)}) : a.value();
  const Tensor right = column ? b.value().view({b.size(0), 1}) : b.value();
  const std::int64_t m = left.size(ta ? -1 : -2), k = left.size(ta ? -2 : -1);
  const std::int64_t n = right.size(tb ? -2 : -1);
  SMX_CHECK(k == right.size(tb ? -1 : -2), "[matmul] expected equal inner sizes, got {}{} and {}{}",
            describe(a.value()), ta ? " transposed" : "", describe(b.value()), tb ? " transposed" : "");
  const Shape batches = broadcast_shape("matmul", leading(left), leading(right));
  const Tensor product = Tensor::empty(batches.append(m).append(n), a.dtype(), a.device());
  SMX_DISPATCH(matmul_product, product.device(), left, ta, right, tb, GradTarget{product});
  Shape shape = product.shape();
  if (row) shape = shape.without(-2);
  if (column) shape = shape.without(-1);
  //  With A = op(a), B = op(b): dA = dy B^T and dB = A^T dy. A transposed operand takes the transpose:
  //  da = B dy^T, db = dy^T A. What was shared by several batches sums theirs.
  return record("matmul", {a, b}, product.view(shape),
                [left, right, ta, tb, full = product.shape()](BackwardContext& ctx) {
                  const Tensor dy = ctx.grad_output().view(full);
                  if (ctx.wants(0)) {
                    const GradTarget da = viewed(ctx.target(0), left.shape());
                    if (ta)
                      SMX_DISPATCH(matmul_product, dy.device(), right, tb, dy, true, da);
                    else
                      SMX_DISPATCH(matmul_product, dy.device(), dy, false, right, !tb, da);
                  }
                  if (ctx.wants(1)) {
                    const GradTarget db = viewed(ctx.target(1), right.shape());
                    if (tb)
                      SMX_DISPATCH(matmul_product, dy.device(), dy, true, left, ta, db);
                    else
                      SMX_DISPATCH(matmul_product, dy.device(), left, !ta, dy, false, db);
                  }
                });
}

Variable linear(const Variable& x, const Variable& weight, const Variable& bias) {
  const profile::Scope scope("linear");
  check_float("linear", x);
  check_alike("linear", x, weight);
  SMX_CHECK(x.rank() >= 1 && weight.rank() == 2 && x.size(-1) == weight.size(1),
            "[linear] expected x [..., in] and weight [out, in], got {} and {}", describe(x.value()),
            describe(weight.value()));
  const std::int64_t in = weight.size(1), out = weight.size(0), rows = x.shape().outer(-1);
  check_bias("linear", bias, x, Shape{out});
  const Tensor y = Tensor::empty(x.shape().with(-1, out), x.dtype(), x.device());
  const Tensor x_rows = x.value().view({rows, in});
  SMX_DISPATCH(linear_forward, y.device(), x_rows, weight.value(), bias.defined() ? bias.value() : Tensor{},
               y.view({rows, out}));
  //  dx = dy W, dW = dy^T x, db = column sums of dy
  return record("linear", {x, weight, bias}, y, [x_rows, w = weight.value()](BackwardContext& ctx) {
    const std::int64_t n = x_rows.size(0), wide = w.size(1), tall = w.size(0);
    const Tensor dy = ctx.grad_output().view({n, tall});
    if (ctx.wants(0))
      SMX_DISPATCH(matmul_product, dy.device(), dy, false, w, false, viewed(ctx.target(0), {n, wide}));
    if (ctx.wants(1)) SMX_DISPATCH(matmul_product, dy.device(), dy, true, x_rows, false, ctx.target(1));
    if (ctx.wants(2)) {
      const Tensor all_rows = Tensor::from(std::vector<std::int64_t>{0, n}, {2});
      SMX_DISPATCH(grouped_bias_backward, dy.device(), dy, all_rows, viewed(ctx.target(2), {1, tall}));
    }
  });
}

Variable grouped_matmul(const Variable& x, const Variable& weight, const Tensor& offsets,
                        const Variable& bias) {
  const profile::Scope scope("grouped_matmul");
  check_float("grouped_matmul", x);
  check_alike("grouped_matmul", x, weight);
  SMX_CHECK(x.rank() == 2 && weight.rank() == 3 && x.size(1) == weight.size(2),
            "[grouped_matmul] expected x [n, in] and weight [E, out, in], got {} and {}", describe(x.value()),
            describe(weight.value()));
  check_bias("grouped_matmul", bias, x, Shape{weight.size(0), weight.size(1)});
  check_offsets(offsets, weight.size(0), x.size(0));
  const Tensor y = Tensor::empty({x.size(0), weight.size(1)}, x.dtype(), x.device());
  SMX_DISPATCH(grouped_matmul_forward, y.device(), x.value(), weight.value(),
               bias.defined() ? bias.value() : Tensor{}, offsets, y);
  //  The gradients of linear, expert by expert.
  return record("grouped_matmul", {x, weight, bias}, y,
                [x = x.value(), w = weight.value(), offsets](BackwardContext& ctx) {
                  const Tensor& dy = ctx.grad_output();
                  if (ctx.wants(0))
                    SMX_DISPATCH(grouped_matmul_backward_x, dy.device(), dy, w, offsets, ctx.target(0));
                  if (ctx.wants(1))
                    SMX_DISPATCH(grouped_matmul_backward_weight, dy.device(), dy, x, offsets, ctx.target(1));
                  if (ctx.wants(2))
                    SMX_DISPATCH(grouped_bias_backward, dy.device(), dy, offsets, ctx.target(2));
                });
}

}  // namespace simsmoe::ops
