#include "ops/random.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"

namespace simsmoe::ops {

Variable dropout(const Variable& x, double p, RandomKey key, std::uint64_t step, std::uint64_t first) {
  const profile::Scope scope("dropout");
  check_float("dropout", x);
  SMX_CHECK(p >= 0.0 && p < 1.0, "[dropout] expected a probability in [0, 1), got {}", p);
  if (p == 0.0) return x;
  Tensor y = Tensor::empty_like(x.value());
  SMX_DISPATCH(dropout_apply, y.device(), x.value(), GradTarget{y, false}, p, key, step, first);
  //  dx = dy * mask / (1 - p): the same linear map, with the mask drawn again
  return record("dropout", {x}, y, [p, key, step, first](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    SMX_DISPATCH(dropout_apply, dy.device(), dy, ctx.target(0), p, key, step, first);
  });
}

Tensor uniform(const Shape& shape, DType dtype, RandomKey key, std::uint64_t step, Device device,
               std::uint64_t first) {
  SMX_CHECK(is_float(dtype), "[uniform] expected a float dtype, got {}", name_of(dtype));
  Tensor y = Tensor::empty(shape, dtype, device);
  SMX_DISPATCH(uniform_fill, device, y, key, step, first);
  return y;
}

Tensor normal(const Shape& shape, DType dtype, RandomKey key, std::uint64_t step, Device device,
              std::uint64_t first) {
  SMX_CHECK(is_float(dtype), "[normal] expected a float dtype, got {}", name_of(dtype));
  Tensor y = Tensor::empty(shape, dtype, device);
  SMX_DISPATCH(normal_fill, device, y, key, step, first);
  return y;
}

}  // namespace simsmoe::ops
