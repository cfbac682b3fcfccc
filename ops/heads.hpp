#pragma once
// Heads of a packed projection, named without a copy. The queries, keys and values of attention are slices of
// one tensor [B, T, 3, H, C] or [B, T, H + 2G, C] as often as tensors of their own.

#include "ops/check.hpp"

namespace simsmoe {

// What a kernel is told: the heads [first, first + count) of x [B, T, ..., C], where the axes between T and C
// together count heads.
struct HeadSlice {
  Tensor x;
  std::int64_t first = 0, count = 0;

  std::int64_t batch() const { return x.size(0); }
  std::int64_t length() const { return x.size(1); }
  std::int64_t width() const { return x.size(-1); }
  std::int64_t stride() const { return x.shape().inner(1); }  // from one position to the next
  // Where head h of sequence b begins, h counted within the slice; valid for every tensor of x's shape.
  std::int64_t offset(std::int64_t b, std::int64_t h) const {
    return b * length() * stride() + (first + h) * width();
  }
};

}  // namespace simsmoe

namespace simsmoe::ops {

// `count` heads of x [B, T, ..., C] from number `first` on; all that follow when count is -1.
//
//   {q}                                       all heads of q [B, T, H, C]
//   {.x = qkv, .first = H, .count = G}        the keys of qkv [B, T, H + 2G, C]
//   {.x = qkv, .first = 2 * H, .count = H}    the values of qkv [B, T, 3, H, C]
struct Heads {
  Variable x;
  std::int64_t first = 0, count = -1;
};

// The slice that `heads` names, after a check of its shape; `name` is how messages call it.
inline HeadSlice check_heads(std::string_view op, std::string_view name, const Heads& heads) {
  check_float(op, heads.x);
  const Tensor& x = heads.x.value();
  SMX_CHECK(x.rank() >= 4 && x.size(-1) >= 1, "[{}] expected {} [B, T, heads, C] with C >= 1, got {}", op,
            name, describe(x));
  const std::int64_t all = x.shape().without(-1).inner(1);
  const std::int64_t count = heads.count == -1 ? all - heads.first : heads.count;
  SMX_CHECK(heads.first >= 0 && count >= 0 && heads.first + count <= all,
            "[{}] expected {} within the {} heads of {}, got {} heads from {} on", op, name, all, describe(x),
            count, heads.first);
  return {x, heads.first, count};
}

}  // namespace simsmoe::ops
