#include "ops/random.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"

namespace simsmoe::ops {

Variable dropout(const Variable& x, double p, RandomKey key, std::uint64_t step) {
  const profile::Scope scope("dropout");
  check_float("dropout", x);
  SMX_CHECK(p >= 0.0 && p < 1.0, "[dropout] expected a probability in [0, 1), got {}", p);
  if (p == 0.0) return x;
  Tensor y = Tensor::empty_like(x.value());
  SMX_DISPATCH(dropout_apply, y.device(), x.value(), GradTarget{y, false}, p, key, step);
  //  dx = dy * mask / (1 - p): the same linear map, with the mask drawn again
  return record("dropout", {x}, y, [p, key, step](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    SMX_DISPATCH(dropout_apply, dy.device(), dy, ctx.target(0), p, key, step);
  });
}

namespace {

template <class Draw>
Tensor drawn(const Shape& shape, DType dtype, Device device, Draw draw) {
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = draw(i);
  return Tensor::from(values, shape).to(dtype).to(device);
}

}  // namespace

Tensor uniform(const Shape& shape, DType dtype, RandomKey key, std::uint64_t step, Device device) {
  return drawn(shape, dtype, device, [&](std::uint64_t i) { return random_uniform(key, step, i); });
}

Tensor normal(const Shape& shape, DType dtype, RandomKey key, std::uint64_t step, Device device) {
  return drawn(shape, dtype, device, [&](std::uint64_t i) { return random_normal(key, step, i); });
}

}  // namespace simsmoe::ops
