#include "ops/attention.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/profile.hpp"

// The mathematics of the family. Tiling with a running maximum: Dao et al. 2022, FlashAttention. Grouped
// queries: Ainslie et al. 2023, GQA. The term by distance, and what u and w are: Dai et al. 2019,
// Transformer-XL, section 3.3.

namespace simsmoe::ops {

namespace {

// --- what was asked for ---------------------------------------------------------------------------------

void check_operands(std::string_view op, const HeadSlice& q, const HeadSlice& k, const HeadSlice& v) {
  check_alike(op, q.x, k.x);
  check_alike(op, q.x, v.x);
  SMX_CHECK(k.batch() == q.batch() && k.width() == q.width(),
            "[{}] expected k [{}, S, G, {}] for q {}, got {}", op, q.batch(), q.width(), describe(q.x),
            describe(k.x));
  SMX_CHECK(
      v.batch() == k.batch() && v.length() == k.length() && v.width() == k.width() && v.count == k.count,
      "[{}] expected v like k: {} heads of [{}, {}, ..., {}], got {} heads of {}", op, k.count, k.batch(),
      k.length(), k.width(), v.count, describe(v.x));
  SMX_CHECK(k.count == 0 ? q.count == 0 : q.count % k.count == 0,
            "[{}] expected a number of query heads that {} key heads divide, got {}", op, k.count, q.count);
}

Tensor check_bound(std::string_view op, std::string_view name, const Tensor& bound, const HeadSlice& q) {
  if (!bound.defined()) return {};
  check_index(op, bound);
  SMX_CHECK(bound.shape() == Shape{q.batch()} && bound.device() == q.x.device(),
            "[{}] expected {} [{}] on the device of q, got {}", op, name, q.batch(), describe(bound));
  return bound;
}

// An optional bias [H, C].
Tensor check_bias(std::string_view op, std::string_view name, const Variable& bias, const HeadSlice& q) {
  if (!bias.defined()) return {};
  check_alike(op, q.x, bias.value());
  SMX_CHECK(bias.shape() == (Shape{q.count, q.width()}), "[{}] expected {} [{}, {}], got {}", op, name,
            q.count, q.width(), describe(bias.value()));
  return bias.value();
}

// Turns what a query sees into a range of distances, cut to those that occur.
void set_distances(std::string_view op, const AttentionOptions& o, AttentionSpec& spec) {
  const std::int64_t T = spec.q.length(), S = spec.k.length();
  SMX_CHECK(o.window >= 0, "[{}] expected window >= 0, got {}", op, o.window);
  SMX_CHECK(o.causal || (o.window == 0 && o.current),
            "[{}] expected causal = true with a window or without the current position", op);
  constexpr std::int64_t kFarthest = std::int64_t{1} << 60;  // sums of positions and lengths do not overflow
  SMX_CHECK(o.position ? *o.position >= 0 && *o.position <= kFarthest : !o.causal || S >= T,
            "[{}] expected position >= 0, or at least as many keys as queries where none is given, got {}",
            op, o.position.value_or(S - T));
  const std::int64_t first = o.current ? 0 : 1;
  spec.position = o.position.value_or(S - T);
  spec.nearest = spec.position - (S - 1);
  spec.farthest = spec.position + T - 1;
  if (o.causal) spec.nearest = std::max(spec.nearest, first);
  if (o.window > 0) spec.farthest = std::min(spec.farthest, o.window - 1 + first);
  spec.farthest = std::max(spec.farthest, spec.nearest - 1);
}

void check_relative(std::string_view op, const AttentionOptions& o, AttentionSpec& spec) {
  SMX_CHECK(o.relative.defined() || !o.relative_bias.defined(), "[{}] expected relative with relative_bias",
            op);
  if (!o.relative.defined()) return;
  const Tensor& r = o.relative.value();
  const std::int64_t H = spec.q.count, C = spec.q.width();
  check_alike(op, spec.q.x, r);
  SMX_CHECK(r.rank() >= 2 && (r.shape() == Shape{r.size(0), C} || r.shape() == Shape{r.size(0), H, C}),
            "[{}] expected relative [R, {}] or [R, {}, {}], got {}", op, C, H, C, describe(r));
  const std::int64_t last = o.first_distance + r.size(0) - 1;
  SMX_CHECK(
      spec.farthest < spec.nearest || (o.first_distance <= spec.nearest && spec.farthest <= last),
      "[{}] expected relative to hold the distances {} to {}, got {} to {}: a window keeps queries within it",
      op, spec.nearest, spec.farthest, o.first_distance, last);
  spec.relative = r;
  spec.first_distance = o.first_distance;
}

AttentionSpec described(std::string_view op, const HeadSlice& q, const HeadSlice& k, const HeadSlice& v,
                        const AttentionOptions& o) {
  check_operands(op, q, k, v);
  AttentionSpec spec{.q = q, .k = k, .v = v};
  spec.begin = check_bound(op, "begin", o.begin, q);
  spec.end = check_bound(op, "end", o.end, q);
  spec.query_bias = check_bias(op, "query_bias", o.query_bias, q);
  spec.relative_bias = check_bias(op, "relative_bias", o.relative_bias, q);
  spec.scale = o.scale != 0.0 ? o.scale : 1.0 / std::sqrt(static_cast<double>(q.width()));
  set_distances(op, o, spec);
  check_relative(op, o, spec);
  return spec;
}

Tensor empty_output(const HeadSlice& q) {
  return Tensor::empty({q.batch(), q.length(), q.count * q.width()}, q.x.dtype(), q.x.device());
}

// --- whose gradient goes where --------------------------------------------------------------------------

// An operand is the part [first, end) of `all` parts of an input of the node: some of its heads, or all of it
// as one part.
struct Operand {
  int input = -1;  // -1: not given
  std::int64_t first = 0, end = 1, all = 1;
};
using Operands = std::array<Operand, 6>;  // q, k, v, relative, query_bias, relative_bias

// The operands' places in AttentionGradients.
constexpr std::array<GradTarget AttentionGradients::*, std::tuple_size_v<Operands>> kMembers = {
    &AttentionGradients::q,        &AttentionGradients::k,          &AttentionGradients::v,
    &AttentionGradients::relative, &AttentionGradients::query_bias, &AttentionGradients::relative_bias};

// Adds a Variable to the node's inputs, each of which is there once.
Operand place(const Variable& x, Variables& inputs, std::int64_t first = 0, std::int64_t count = 1,
              std::int64_t all = 1) {
  if (!x.defined()) return {};
  const auto same = std::ranges::find_if(inputs, [&](const Variable& input) { return input.same_as(x); });
  const int number = static_cast<int>(same - inputs.begin());
  if (same == inputs.end()) inputs.push_back(x);
  return {number, first, first + count, all};
}

Operand place(const Heads& heads, const HeadSlice& slice, Variables& inputs) {
  return place(heads.x, inputs, slice.first, slice.count, slice.stride() / slice.width());
}

// Does a part of an input belong to two operands?
bool overlap(const Operands& operands, int input) {
  for (std::size_t i = 0; i < operands.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      const Operand &a = operands[i], &b = operands[j];
      if (a.input == input && b.input == input && a.first < b.end && b.first < a.end) return true;
    }
  return false;
}

// Where the gradient of an input goes. Memory that no operand, or more than one, would overwrite is set to 0
// and added to.
GradTarget prepared(const Operands& operands, int input, BackwardContext& ctx) {
  GradTarget target = ctx.target(input);
  std::int64_t covered = 0, all = 0;
  for (const Operand& operand : operands)
    if (operand.input == input) covered += operand.end - operand.first, all = operand.all;
  if (!target.accumulate && (covered != all || overlap(operands, input))) {
    const Tensor& buffer = target.buffer;
    runtime(buffer.device()).fill_bytes(buffer.raw_data(), 0, buffer.bytes());
    target.accumulate = true;
  }
  return target;
}

// One pass for all gradients when their memory is disjoint, else one for each: rule 2 of the tape.
void go_back(const AttentionSpec& spec, const Tensor& y, const Tensor& lse, const Operands& operands,
             int inputs, BackwardContext& ctx) {
  std::vector<GradTarget> targets(static_cast<std::size_t>(inputs));
  bool disjoint = true;
  for (int i = 0; i < inputs; ++i) {
    if (!ctx.wants(i)) continue;
    targets[static_cast<std::size_t>(i)] = prepared(operands, i, ctx);
    disjoint = disjoint && !overlap(operands, i);
  }
  AttentionGradients all;
  for (std::size_t o = 0; o < operands.size(); ++o) {
    if (operands[o].input < 0 || !ctx.wants(operands[o].input)) continue;
    AttentionGradients alone;
    all.*kMembers[o] = alone.*kMembers[o] = targets[static_cast<std::size_t>(operands[o].input)];
    if (!disjoint) SMX_DISPATCH(attention_backward, y.device(), spec, y, lse, ctx.grad_output(), alone);
  }
  if (disjoint) SMX_DISPATCH(attention_backward, y.device(), spec, y, lse, ctx.grad_output(), all);
}

}  // namespace

Variable attention(const Heads& q, const Heads& k, const Heads& v, const AttentionOptions& options) {
  const profile::Scope scope("attention");
  const AttentionSpec spec =
      described("attention", check_heads("attention", "q", q), check_heads("attention", "k", k),
                check_heads("attention", "v", v), options);
  const Tensor y = empty_output(spec.q);
  const DType computed = y.dtype() == DType::bf16 ? DType::f32 : y.dtype();
  const Tensor lse = Tensor::empty({spec.q.batch(), spec.q.count, spec.q.length()}, computed, y.device());
  SMX_DISPATCH(attention_forward, y.device(), spec, y, lse);

  Variables inputs;
  const Operands operands = {place(q, spec.q, inputs),          place(k, spec.k, inputs),
                             place(v, spec.v, inputs),          place(options.relative, inputs),
                             place(options.query_bias, inputs), place(options.relative_bias, inputs)};
  //  Z_ts = scale ((q_t + u) . k_s + (q_t + w) . r_d), d = position + t - s
  //  P = exp(Z - lse) where t sees s, else 0      y = P v
  //  The rows of P are recomputed tile by tile from lse.
  //  dv_s = sum_t P_ts dy_t
  //  dP_ts = dy_t . v_s,  dZ = P * (dP - rowsum(P * dP)),  rowsum(P * dP)_t = dy_t . y_t
  //  a_t = scale sum_s dZ_ts k_s                  the gradient of q_t + u
  //  b_t = scale sum_s dZ_ts r_d                  the gradient of q_t + w
  //  dq = a + b,  du = sum over sequences and t of a,  dw the same of b
  //  dk_s = scale sum_t dZ_ts (q_t + u), over all query heads that read k_s; dv_s too
  //  dr_d = scale sum of dZ_ts (q_t + w) over sequences, t, s with position + t - s = d, and the heads that
  //  share r
  const int count = static_cast<int>(inputs.size());
  return record("attention", std::move(inputs), y,
                [=](BackwardContext& ctx) { go_back(spec, y, lse, operands, count, ctx); });
}

namespace {

// qkv [B, T, 3, H, C] as its queries, keys and values.
std::array<Heads, 3> unpacked(std::string_view op, const Variable& qkv) {
  check_float(op, qkv);
  SMX_CHECK(qkv.rank() == 5 && qkv.size(2) == 3 && qkv.size(4) >= 1,
            "[{}] expected qkv [B, T, 3, H, C] with C >= 1, got {}", op, describe(qkv.value()));
  const std::int64_t H = qkv.size(3);
  return {Heads{qkv, 0, H}, Heads{qkv, H, H}, Heads{qkv, 2 * H, H}};
}

}  // namespace

Variable causal_attention(const Variable& qkv, double scale) {
  const auto [q, k, v] = unpacked("causal_attention", qkv);
  return attention(q, k, v, {.scale = scale});
}

Tensor cached_attention(const Heads& q, const Heads& k, const Heads& v, const Tensor& cache,
                        std::int64_t position, const AttentionOptions& options) {
  constexpr std::string_view op = "cached_attention";
  const profile::Scope scope(op);
  const HeadSlice queries = check_heads(op, "q", q), keys = check_heads(op, "k", k),
                  values = check_heads(op, "v", v);
  SMX_CHECK(
      Tape::current() == nullptr || !(q.x.requires_grad() || k.x.requires_grad() || v.x.requires_grad()),
      "[{}] expected operands without gradient: there is no backward", op);
  SMX_CHECK(options.causal && !options.position,
            "[{}] expected causal = true and no position among the options", op);
  check_operands(op, queries, keys, values);
  check_float(op, cache);
  check_alike(op, keys.x, cache);
  const std::int64_t T = queries.length(), G = keys.count, C = keys.width();
  SMX_CHECK(keys.length() == T, "[{}] expected as many new keys as queries, {}, got {}", op, T,
            keys.length());
  SMX_CHECK(cache.rank() == 5 && cache.size(0) == 2 && cache.size(1) == keys.batch() && cache.size(3) == G &&
                cache.size(4) == C,
            "[{}] expected cache [2, {}, max_length, {}, {}], got {}", op, keys.batch(), G, C,
            describe(cache));
  SMX_CHECK(position >= 0 && position + T <= cache.size(2),
            "[{}] expected positions within the cache of {}, got {} to {}", op, cache.size(2), position,
            position + T);

  const auto half = [&](std::int64_t part) {
    return HeadSlice{cache.slice0(part, part + 1).view({keys.batch(), cache.size(2), G, C}), 0, G};
  };
  AttentionOptions at = options;
  at.position = position;
  const AttentionSpec spec = described(op, queries, half(0), half(1), at);
  cache.note_change();
  SMX_DISPATCH(append_heads, cache.device(), keys, spec.k.x, position);
  SMX_DISPATCH(append_heads, cache.device(), values, spec.v.x, position);
  Tensor y = empty_output(queries);
  SMX_DISPATCH(attention_forward, y.device(), spec, y, Tensor());
  return y;
}

Tensor cached_attention(const Tensor& qkv, const Tensor& cache, std::int64_t position, double scale) {
  check_float("cached_attention", qkv);
  const auto [q, k, v] = unpacked("cached_attention", Variable(qkv));
  return cached_attention(q, k, v, cache, position, {.scale = scale});
}

}  // namespace simsmoe::ops
