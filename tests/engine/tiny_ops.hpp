#pragma once
// Two differentiable ops on f64, just large enough to test the tape without the ops library.

#include <span>

#include "engine/tape.hpp"

namespace simsmoe::testing {

// target (+)= dy * factor, elementwise: the one kernel.
inline void write_product(GradTarget target, const Tensor& dy, const Tensor& factor) {
  const std::span<double> out = target.buffer.host<double>();
  const std::span<const double> g = dy.host<const double>(), f = factor.host<const double>();
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = (target.accumulate ? out[i] : 0.0) + g[i] * f[i];
}

// y = a * b
inline Variable multiply(const Variable& a, const Variable& b) {
  const Tensor y = Tensor::empty_like(a.value());
  write_product({y, false}, a.value(), b.value());
  return record("multiply", {a, b}, y, [a = a.value(), b = b.value()](BackwardContext& ctx) {
    if (ctx.wants(0)) write_product(ctx.target(0), ctx.grad_output(), b);
    if (ctx.wants(1)) write_product(ctx.target(1), ctx.grad_output(), a);
  });
}

// (y, z) = (2 x, 3 x)
inline Variables twice_and_thrice(const Variable& x) {
  const Tensor two = Tensor::full(x.shape(), 2.0, DType::f64),
               three = Tensor::full(x.shape(), 3.0, DType::f64);
  const Tensor y = Tensor::empty_like(x.value()), z = Tensor::empty_like(x.value());
  write_product({y, false}, x.value(), two);
  write_product({z, false}, x.value(), three);
  return record("twice_and_thrice", {x}, {y, z}, [two, three](BackwardContext& ctx) {
    write_product(ctx.target(0), ctx.grad_output(0), two);
    write_product(ctx.target(0), ctx.grad_output(1), three);
  });
}

inline Variable leaf(std::vector<double> values, std::string name = {}) {
  const Shape shape{static_cast<std::int64_t>(values.size())};
  return Variable(Tensor::from(values, shape), true, std::move(name));
}

inline std::vector<double> grad_of(const Variable& x) { return x.grad().to_vector<double>(); }

}  // namespace simsmoe::testing
