#include "ops/unary.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"

// All elementwise functions share one op: y = f(x), dx = f'(x) * dy. The functions are in functors.hpp.

namespace simsmoe::ops {

namespace {

Variable unary(std::string_view name, const UnaryFunction& function, const Variable& x) {
  const profile::Scope scope(name);
  check_float(name, x);
  Tensor y = Tensor::empty_like(x.value());
  SMX_DISPATCH(unary_forward, y.device(), function, x.value(), y);
  const bool from_y = std::visit([](const auto& f) { return f.kSlopeFromY; }, function);
  return record(name, {x}, y, [function, saved = from_y ? y : x.value()](BackwardContext& ctx) {
    SMX_DISPATCH(unary_backward, saved.device(), function, saved, ctx.grad_output(), ctx.target(0));
  });
}

}  // namespace

Variable relu(const Variable& x) { return unary("relu", functors::Relu{}, x); }
Variable gelu(const Variable& x) { return unary("gelu", functors::Gelu{}, x); }
Variable gelu_tanh(const Variable& x) { return unary("gelu_tanh", functors::GeluTanh{}, x); }
Variable silu(const Variable& x) { return unary("silu", functors::Silu{}, x); }
Variable sigmoid(const Variable& x) { return unary("sigmoid", functors::Sigmoid{}, x); }
Variable tanh(const Variable& x) { return unary("tanh", functors::Tanh{}, x); }
Variable exp(const Variable& x) { return unary("exp", functors::Exp{}, x); }
Variable expm1(const Variable& x) { return unary("expm1", functors::Expm1{}, x); }
Variable normal_cdf(const Variable& x) { return unary("normal_cdf", functors::NormalCdf{}, x); }
Variable log(const Variable& x) { return unary("log", functors::Log{}, x); }
Variable sqrt(const Variable& x) { return unary("sqrt", functors::Sqrt{}, x); }
Variable square(const Variable& x) { return unary("square", functors::Square{}, x); }
Variable softplus(const Variable& x) { return unary("softplus", functors::Softplus{}, x); }
Variable abs(const Variable& x) { return unary("abs", functors::Abs{}, x); }
Variable neg(const Variable& x) { return unary("neg", functors::Scale{-1.0, 0.0}, x); }
Variable sign(const Variable& x) { return unary("sign", functors::Sign{}, x); }
Variable rsqrt(const Variable& x) { return unary("rsqrt", functors::Rsqrt{}, x); }
Variable sin(const Variable& x) { return unary("sin", functors::Sin{}, x); }
Variable cos(const Variable& x) { return unary("cos", functors::Cos{}, x); }

Variable scale(const Variable& x, double factor, double offset) {
  return unary("scale", functors::Scale{factor, offset}, x);
}

Variable pow(const Variable& x, double exponent) {
  if (exponent == 2.0) return unary("pow", functors::Square{}, x);  // in vector lanes
  return unary("pow", functors::Power{exponent}, x);
}

Variable clamp(const Variable& x, double low, double high) {
  SMX_CHECK(low <= high, "[clamp] expected low <= high, got {} and {}", low, high);
  return unary("clamp", functors::Clamp{low, high}, x);
}

Variable add(const Variable& x, double number) { return unary("add", functors::Scale{1.0, number}, x); }
Variable sub(const Variable& x, double number) { return unary("sub", functors::Scale{1.0, -number}, x); }
Variable sub(double number, const Variable& x) { return unary("sub", functors::Scale{-1.0, number}, x); }
Variable mul(const Variable& x, double number) { return unary("mul", functors::Scale{number, 0.0}, x); }
Variable div(const Variable& x, double number) { return unary("div", functors::DivideBy{number}, x); }
Variable div(double number, const Variable& x) { return unary("div", functors::DivideInto{number}, x); }
Variable maximum(const Variable& x, double number) {
  return unary("maximum", functors::MaximumWith{number}, x);
}
Variable minimum(const Variable& x, double number) {
  return unary("minimum", functors::MinimumWith{number}, x);
}

Variable cast(const Variable& x, DType dtype) {
  const profile::Scope scope("cast");
  check_float("cast", x);
  SMX_CHECK(is_float(dtype), "[cast] expected a float dtype, got {}", name_of(dtype));
  if (dtype == x.dtype()) return x;
  Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  SMX_DISPATCH(cast_into, y.device(), x.value(), GradTarget{y, false});
  return record("cast", {x}, y, [](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    SMX_DISPATCH(cast_into, dy.device(), dy, ctx.target(0));
  });
}

}  // namespace simsmoe::ops
