#include "ops/rotary.hpp"

#include "engine/profile.hpp"

namespace simsmoe::ops {

Variable rotary(const Heads& turned, std::int64_t first_position, double base) {
  const profile::Scope scope("rotary");
  const HeadSlice x = check_heads("rotary", "x", turned);
  SMX_CHECK(x.width() % 2 == 0, "[rotary] expected an even C, got {}", describe(x.x));
  SMX_CHECK(base > 0.0, "[rotary] expected a positive base, got {}", base);
  const Tensor y = Tensor::empty_like(x.x);
  SMX_DISPATCH(rotary_turn, y.device(), x, first_position, base, 1, GradTarget{y});
  //  A rotation is orthogonal: its transpose turns back. What passed unchanged passes back unchanged.
  return record("rotary", {turned.x}, y,
                [first = x.first, count = x.count, first_position, base](BackwardContext& ctx) {
                  const HeadSlice dy{ctx.grad_output(), first, count};
                  SMX_DISPATCH(rotary_turn, dy.x.device(), dy, first_position, base, -1, ctx.target(0));
                });
}

Variable rotary(const Variable& qkv, std::int64_t first_position, double base) {
  check_float("rotary", qkv);
  SMX_CHECK(qkv.rank() == 5 && qkv.size(2) == 3, "[rotary] expected qkv [B, T, 3, H, C], got {}",
            describe(qkv.value()));
  return rotary(Heads{.x = qkv, .count = 2 * qkv.size(3)}, first_position, base);
}

}  // namespace simsmoe::ops
