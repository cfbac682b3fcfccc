#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "ops/attention.hpp"
#include "ops/binary.hpp"
#include "ops/index.hpp"
#include "ops/layout.hpp"
#include "ops/matmul.hpp"
#include "ops/softmax.hpp"
#include "ops/unary.hpp"

// Attention against a plain composition of other ops, in f64, over random combinations of all its options:
// the whole matrix of scores, a mask that a loop fills, a softmax along the rows.

using namespace simsmoe;
using ops::AttentionOptions;
using ops::Heads;

namespace {

using Random = std::mt19937_64;

std::int64_t between(Random& random, std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(high - low + 1));
}
bool chance(Random& random, int percent) { return between(random, 1, 100) <= percent; }

Tensor uniform(Random& random, const Shape& shape) {
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (double& v : values) v = std::uniform_real_distribution<double>(-1.0, 1.0)(random);
  return Tensor::from(values, shape);
}

// --- the composition ------------------------------------------------------------------------------------

// [B, heads, T, C]
Variable by_head(const Heads& heads) {
  const std::int64_t all = heads.x.size(2), count = heads.count == -1 ? all - heads.first : heads.count;
  return ops::permute(ops::slice(heads.x, 2, heads.first, heads.first + count), {0, 2, 1, 3});
}

// [B, G, S, C] -> [B, H, S, C]: each key head for H / G query heads.
Variable repeated(const Variable& k, std::int64_t H) {
  const std::int64_t B = k.size(0), G = k.size(1), S = k.size(2), C = k.size(3);
  return ops::reshape(ops::broadcast_to(ops::reshape(k, {B, G, 1, S, C}), {B, G, H / G, S, C}), {B, H, S, C});
}

// 1 where query t of sequence b sees key s, else 0. [B, 1, T, S]
Tensor mask(std::int64_t B, std::int64_t T, std::int64_t S, const AttentionOptions& o) {
  std::vector<double> seen;
  const auto bounds = [&](const Tensor& given, std::int64_t otherwise) {
    return given.defined() ? given.to_vector<std::int64_t>()
                           : std::vector<std::int64_t>(static_cast<std::size_t>(B), otherwise);
  };
  const std::vector<std::int64_t> begin = bounds(o.begin, 0), end = bounds(o.end, S);
  for (std::int64_t b = 0; b < B; ++b)
    for (std::int64_t t = 0; t < T; ++t)
      for (std::int64_t s = 0; s < S; ++s) {
        const std::int64_t d = o.position.value_or(S - T) + t - s;
        const auto at = static_cast<std::size_t>(b);
        bool sees = !o.causal || d > 0 || (d == 0 && o.current);
        if (o.window > 0) sees = sees && (o.current ? d < o.window : d <= o.window);
        seen.push_back(sees && begin[at] <= s && s < end[at] ? 1.0 : 0.0);
      }
  return Tensor::from(seen, {B, 1, T, S});
}

Variable with_bias(const Variable& q, const Variable& bias) {
  return bias.defined() ? ops::add(q, ops::reshape(bias, {bias.size(0), 1, bias.size(1)})) : q;
}

// (q_t + w) . r_d for all t and s. q: [B, H, T, C] -> [B, H, T, S]
Variable distance_scores(const Variable& q, std::int64_t S, const AttentionOptions& o) {
  const std::int64_t H = q.size(1), T = q.size(2), C = q.size(3), R = o.relative.size(0);
  std::vector<std::int64_t> rows;  // those of distances that nobody sees are anything
  for (std::int64_t t = 0; t < T; ++t)
    for (std::int64_t s = 0; s < S; ++s)
      rows.push_back(
          std::clamp<std::int64_t>(o.position.value_or(S - T) + t - s - o.first_distance, 0, R - 1));
  Variable r = o.relative;
  if (r.rank() == 2) r = ops::broadcast_to(ops::reshape(r, {R, 1, C}), {R, H, C});
  r = ops::permute(ops::reshape(ops::index_select(r, Tensor::from(rows, {T * S})), {T, S, H, C}),
                   {2, 0, 1, 3});
  const Variable moved = ops::permute(with_bias(q, o.relative_bias), {1, 2, 0, 3});  // [H, T, B, C]
  return ops::permute(ops::matmul(moved, r, {.transpose_b = true}), {2, 0, 1, 3});
}

Variable composition(const Heads& q, const Heads& k, const Heads& v, const AttentionOptions& o) {
  const Variable queries = by_head(q);
  const std::int64_t B = queries.size(0), H = queries.size(1), T = queries.size(2), C = queries.size(3);
  const Variable keys = repeated(by_head(k), H), values = repeated(by_head(v), H);
  const std::int64_t S = keys.size(2);
  Variable scores = ops::matmul(with_bias(queries, o.query_bias), keys, {.transpose_b = true});
  if (o.relative.defined()) scores = ops::add(scores, distance_scores(queries, S, o));
  const double scale = o.scale != 0.0 ? o.scale : 1.0 / std::sqrt(static_cast<double>(C));
  const Tensor seen = mask(B, T, S, o), hidden = seen.clone();
  for (double& m : hidden.host<double>()) m = (m - 1.0) * 1e30;
  scores = ops::add(ops::mul(scores, Variable(Tensor::scalar(scale))), Variable(hidden));
  const Variable p = ops::mul(ops::softmax(scores), Variable(seen));  // a row that sees nothing: 0
  return ops::reshape(ops::permute(ops::matmul(p, values), {0, 2, 1, 3}), {B, T, H * C});
}

// --- random combinations --------------------------------------------------------------------------------

struct Combination {
  Heads q, k, v;
  AttentionOptions options;
  Variables leaves;
  std::string text;

  Variable leaf(Random& random, const Shape& shape) {
    return leaves.emplace_back(uniform(random, shape), true);
  }
};

void draw_operands(Random& random, Combination& c) {
  constexpr std::array<std::int64_t, 10> lengths = {0, 1, 2, 3, 5, 63, 64, 65, 70, 130};
  constexpr std::array<std::int64_t, 6> more = {0, 0, 0, 1, 7, 129};
  const std::int64_t B = between(random, 0, 3), T = lengths[random() % lengths.size()];
  const std::int64_t S = std::max<std::int64_t>(1, T + more[random() % more.size()]),
                     C = between(random, 1, 5);
  const std::int64_t G = between(random, 1, 2), H = G * between(random, 1, 3), gap = between(random, 0, 1);
  const int layout = static_cast<int>(between(random, 0, 2));
  c.text = fmt::format("B={} T={} S={} H={} G={} C={} layout={} gap={}", B, T, S, H, G, C, layout, gap);
  if (layout == 0 && S == T) {  // all on one projection
    const Variable x = c.leaf(random, {B, T, H + 2 * G + gap, C});
    c.q = {x, gap, H}, c.k = {x, gap + H, G}, c.v = {x, gap + H + G, G};
  } else if (layout == 1) {
    const Variable x = c.leaf(random, {B, S, 2 * G + gap, C});
    c.q = {c.leaf(random, {B, T, H, C})}, c.k = {x, 0, G}, c.v = {x, G + gap};
  } else {
    c.q = {c.leaf(random, {B, T, H, C})}, c.k = {c.leaf(random, {B, S, G, C})};
    c.v = chance(random, 20) ? c.k : Heads{c.leaf(random, {B, S, G, C})};
  }
}

void draw_mask(Random& random, Combination& c) {
  AttentionOptions& o = c.options;
  const std::int64_t B = c.k.x.size(0), S = c.k.x.size(1);
  o.causal = chance(random, 80);
  o.current = !o.causal || chance(random, 60);
  if (o.causal && chance(random, 50)) o.window = between(random, 1, chance(random, 50) ? 4 : 150);
  if (chance(random, 30)) o.position = between(random, 0, S + 3);
  const auto bounds = [&](std::int64_t low, std::int64_t high) {
    std::vector<std::int64_t> values;
    for (std::int64_t b = 0; b < B; ++b) values.push_back(between(random, low, high));
    return Tensor::from(values, {B});
  };
  if (chance(random, 30)) o.begin = bounds(-2, S / 2);
  if (chance(random, 30)) o.end = bounds(0, S + 2);
  c.text += fmt::format(" causal={} current={} window={} position={} begin={} end={}", o.causal, o.current,
                        o.window, o.position.value_or(-1), o.begin.defined(), o.end.defined());
}

void draw_distances(Random& random, Combination& c) {
  AttentionOptions& o = c.options;
  const std::int64_t T = c.q.x.size(1), S = c.k.x.size(1), C = c.q.x.size(3), H = by_head(c.q).size(1);
  if (chance(random, 30)) o.scale = 1.5;
  if (chance(random, 50)) o.query_bias = c.leaf(random, {H, C});
  if (!chance(random, 60)) return;
  const std::int64_t position = o.position.value_or(S - T), first = o.current ? 0 : 1;
  const std::int64_t nearest = o.causal ? first : position - S + 1;
  std::int64_t farthest = position + T - 1;
  if (o.window > 0) farthest = std::min(farthest, first + o.window - 1);
  o.first_distance = nearest - between(random, 0, 2);
  const std::int64_t R = std::max<std::int64_t>(farthest, nearest) - o.first_distance + between(random, 1, 3);
  const bool shared = chance(random, 50);
  o.relative = c.leaf(random, shared ? Shape{R, C} : Shape{R, H, C});
  if (chance(random, 60))
    o.relative_bias = chance(random, 20) && o.query_bias.defined() ? o.query_bias : c.leaf(random, {H, C});
  c.text += fmt::format(" relative={}", o.relative.shape());
}

// Value and gradients of f at the combination, for one dy.
template <class F>
std::vector<Tensor> results(const Combination& c, const Tensor& dy, const F& f) {
  std::vector<Tensor> all;
  {
    Tape tape;
    const Variable y = f(c.q, c.k, c.v, c.options);
    all.push_back(y.value());
    tape.backward(y, dy);
  }
  for (const Variable& leaf : c.leaves) {
    all.push_back(leaf.grad());
    leaf.clear_grad();
  }
  return all;
}

// max |a - b| / max(1, max |b|); infinite when something is no number.
double distance(const Tensor& a, const Tensor& b) {
  if (!a.defined() || a.shape() != b.shape()) return HUGE_VAL;
  double worst = 0.0, largest = 1.0;
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x[i])) return HUGE_VAL;
    worst = std::max(worst, std::abs(x[i] - y[i]));
    largest = std::max(largest, std::abs(y[i]));
  }
  return worst / largest;
}

}  // namespace

TEST_CASE("attention is a plain composition, for random combinations of all options") {
  Random random(1);
  for (int trial = 0; trial < 250; ++trial) {
    Combination c;
    draw_operands(random, c);
    draw_mask(random, c);
    draw_distances(random, c);
    CAPTURE(c.text);
    const Tensor dy = uniform(random, composition(c.q, c.k, c.v, c.options).shape());
    const std::vector<Tensor> expected = results(c, dy, composition), got = results(c, dy, ops::attention);
    for (std::size_t i = 0; i < got.size(); ++i) {
      CAPTURE(i);  // 0: the value, then the gradients in the order in which the leaves were drawn
      CHECK(distance(got[i], expected[i]) < 1e-12);
    }
  }
}
