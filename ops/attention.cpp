#include "ops/attention.hpp"

#include <cmath>

#include "engine/profile.hpp"
#include "ops/check.hpp"

// The mathematics of the family. Tiling with a running maximum: Dao et al. 2022, FlashAttention.

namespace simsmoe::ops {

namespace {

void check_packed(std::string_view op, const Tensor& qkv) {
  check_float(op, qkv);
  SMX_CHECK(qkv.rank() == 5 && qkv.size(2) == 3 && qkv.size(4) >= 1,
            "[{}] expected qkv [B, T, 3, H, C] with C >= 1, got {}", op, describe(qkv));
}

double scale_or_default(double scale, const Tensor& qkv) {
  return scale != 0.0 ? scale : 1.0 / std::sqrt(static_cast<double>(qkv.size(4)));
}

// [B, T, H * C]
Tensor empty_output(const Tensor& qkv) {
  return Tensor::empty({qkv.size(0), qkv.size(1), qkv.size(3) * qkv.size(4)}, qkv.dtype(), qkv.device());
}

}  // namespace

Variable causal_attention(const Variable& qkv, double scale) {
  const profile::Scope scope("causal_attention");
  check_float("causal_attention", qkv);
  check_packed("causal_attention", qkv.value());
  const double factor = scale_or_default(scale, qkv.value());
  const Tensor y = empty_output(qkv.value());
  const DType computed = qkv.dtype() == DType::bf16 ? DType::f32 : qkv.dtype();
  const Tensor lse = Tensor::empty({qkv.size(0), qkv.size(3), qkv.size(1)}, computed, qkv.device());
  SMX_DISPATCH(causal_attention_forward, y.device(), qkv.value(), factor, y, lse);
  //  P = exp(scale q k^T - lse), y = P v. The rows of P are recomputed tile by tile from lse:
  //  dv = P^T dy, dP = dy v^T, dS = P * (dP - rowsum(dy * y)), dq = scale dS k, dk = scale dS^T q
  return record("causal_attention", {qkv}, y, [qkv = qkv.value(), factor, y, lse](BackwardContext& ctx) {
    SMX_DISPATCH(causal_attention_backward, y.device(), qkv, factor, y, lse, ctx.grad_output(),
                 ctx.target(0));
  });
}

Variable rotary(const Variable& qkv, std::int64_t first_position, double base) {
  const profile::Scope scope("rotary");
  check_float("rotary", qkv);
  check_packed("rotary", qkv.value());
  SMX_CHECK(qkv.size(4) % 2 == 0, "[rotary] expected an even C, got {}", describe(qkv.value()));
  SMX_CHECK(base > 0.0, "[rotary] expected a positive base, got {}", base);
  const Tensor y = Tensor::empty_like(qkv.value());
  SMX_DISPATCH(rotary_turn, y.device(), qkv.value(), first_position, base, 1, GradTarget{y});
  //  A rotation is orthogonal: its transpose turns back.
  return record("rotary", {qkv}, y, [first_position, base](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    SMX_DISPATCH(rotary_turn, dy.device(), dy, first_position, base, -1, ctx.target(0));
  });
}

Tensor cached_attention(const Tensor& qkv, const Tensor& cache, std::int64_t position, double scale) {
  const profile::Scope scope("cached_attention");
  check_packed("cached_attention", qkv);
  check_float("cached_attention", cache);
  check_alike("cached_attention", qkv, cache);
  SMX_CHECK(cache.rank() == 5 && cache.size(0) == 2 && cache.size(1) == qkv.size(0) &&
                cache.size(3) == qkv.size(3) && cache.size(4) == qkv.size(4),
            "[cached_attention] expected cache [2, {}, max_length, {}, {}], got {}", qkv.size(0), qkv.size(3),
            qkv.size(4), describe(cache));
  SMX_CHECK(position >= 0 && position + qkv.size(1) <= cache.size(2),
            "[cached_attention] expected positions within the cache of {}, got {} to {}", cache.size(2),
            position, position + qkv.size(1));
  Tensor y = empty_output(qkv);
  SMX_DISPATCH(cached_attention_forward, y.device(), qkv, scale_or_default(scale, qkv), cache, position, y);
  return y;
}

}  // namespace simsmoe::ops
