#include "ops/norm.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"

// The mathematics of the family. Layer norm: Ba, Kiros, Hinton, "Layer Normalization", 2016, eq. 3. RMS norm:
// Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019, eq. 4. Each gradient is a kernel of its own,
// so that one Variable may stand for two arguments.

namespace simsmoe::ops {

namespace {

void check_rows(std::string_view op, const Variable& x, double eps) {
  check_float(op, x);
  SMX_CHECK(x.rank() >= 1 && x.size(-1) >= 1, "[{}] expected x [..., D] with D >= 1, got {}", op,
            describe(x.value()));
  SMX_CHECK(eps > 0.0, "[{}] expected eps > 0, got {}", op, eps);
}

// The value of an optional parameter [D]; undefined when it is missing.
Tensor check_parameter(std::string_view op, std::string_view name, const Variable& x,
                       const Variable& parameter) {
  if (!parameter.defined()) return {};
  check_alike(op, x, parameter);
  SMX_CHECK(parameter.shape() == Shape{x.size(-1)}, "[{}] expected {} [{}] for {}, got {}", op, name,
            x.size(-1), describe(x.value()), describe(parameter.value()));
  return parameter.value();
}

// One number per row, in the type that kernels compute in.
Tensor row_statistic(const Variable& x) {
  return Tensor::empty(x.shape().without(-1), x.dtype() == DType::f64 ? DType::f64 : DType::f32, x.device());
}

}  // namespace

Variable layer_norm(const Variable& x, const Variable& weight, const Variable& bias, double eps) {
  const profile::Scope scope("layer_norm");
  check_rows("layer_norm", x, eps);
  const Tensor w = check_parameter("layer_norm", "weight", x, weight);
  const Tensor b = check_parameter("layer_norm", "bias", x, bias);
  Tensor y = Tensor::empty_like(x.value());
  const Tensor rstd = row_statistic(x), mean = Tensor::empty(rstd.shape(), DType::f64, x.device());
  SMX_DISPATCH(layer_norm_forward, y.device(), x.value(), w, b, eps, y, mean, rstd);
  //  n = (x - mean) rstd                             y = n * weight + bias
  //  dbias   = sum over rows of dy
  //  dweight = sum over rows of dy * n
  //  g = dn = dy * weight
  //  dn_j / dx_i = rstd (1[i = j] - 1/D - n_i n_j / D): the mean and the variance depend on every x_i
  //  dx = rstd (g - mean(g) - n mean(g * n)), means along the row
  return record("layer_norm", {x, weight, bias}, y, [x = x.value(), w, mean, rstd](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    if (ctx.wants(0)) SMX_DISPATCH(layer_norm_backward, x.device(), x, w, mean, rstd, dy, ctx.target(0));
    if (ctx.wants(1)) SMX_DISPATCH(layer_norm_backward_weight, x.device(), x, mean, rstd, dy, ctx.target(1));
    if (ctx.wants(2)) SMX_DISPATCH(layer_norm_backward_bias, x.device(), dy, ctx.target(2));
  });
}

Variable rms_norm(const Variable& x, const Variable& weight, double eps) {
  const profile::Scope scope("rms_norm");
  check_rows("rms_norm", x, eps);
  const Tensor w = check_parameter("rms_norm", "weight", x, weight);
  Tensor y = Tensor::empty_like(x.value());
  const Tensor rstd = row_statistic(x);
  SMX_DISPATCH(rms_norm_forward, y.device(), x.value(), w, eps, y, rstd);
  //  n = x rstd, rstd = (mean(x^2) + eps)^(-1/2)     y = n * weight
  //  dweight = sum over rows of dy * n
  //  g = dn = dy * weight
  //  dn_j / dx_i = rstd (1[i = j] - n_i n_j / D)
  //  dx = rstd (g - n mean(g * n)), mean along the row
  return record("rms_norm", {x, weight}, y, [x = x.value(), w, rstd](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    if (ctx.wants(0)) SMX_DISPATCH(rms_norm_backward, x.device(), x, w, rstd, dy, ctx.target(0));
    if (ctx.wants(1)) SMX_DISPATCH(rms_norm_backward_weight, x.device(), x, rstd, dy, ctx.target(1));
  });
}

}  // namespace simsmoe::ops
