#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

#include "engine/caching_allocator.hpp"
#include "ops/attention.hpp"
#include "ops/layout.hpp"

// The forms that decoders use, against loops written from their formulas; that a cache changes nothing; that
// what is masked has no influence; and how much memory it takes.

using namespace simsmoe;
using ops::AttentionOptions;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Tensor uniform(const Shape& shape, std::uint64_t seed, DType dtype = DType::f64) {
  std::mt19937_64 random(seed);
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (double& v : values) v = std::uniform_real_distribution<double>(-1.0, 1.0)(random);
  return Tensor::from(values, shape).to(dtype);
}

double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  double worst = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    REQUIRE(std::isfinite(x[i]));
    worst = std::max(worst, std::abs(x[i] - y[i]));
  }
  return worst;
}

// Element (i, j, ...) of a tensor of rank 2 to 4.
class View {
 public:
  explicit View(const Tensor& x) : shape_(x.shape()), values_(x.to_vector<double>()) {}
  template <class... Index>
  double operator()(Index... index) const {
    std::int64_t at = 0;
    int axis = 0;
    ((at = at * shape_[axis++] + index), ...);
    return values_[static_cast<std::size_t>(at)];
  }

 private:
  Shape shape_;
  std::vector<double> values_;
};

// y = sum over s of softmax(score(b, h, t, s)) v_s over the keys [from(t), to(t)). v: [B, S, H, C]
template <class Score, class From, class To>
Tensor weighted_sum(std::int64_t T, const Tensor& v, const Score& score, const From& from, const To& to) {
  const std::int64_t B = v.size(0), H = v.size(2), C = v.size(3);
  const View value(v);
  std::vector<double> y;
  for (std::int64_t b = 0; b < B; ++b)
    for (std::int64_t t = 0; t < T; ++t)
      for (std::int64_t h = 0; h < H; ++h) {
        double sum = 0.0;
        std::vector<double> row(static_cast<std::size_t>(C), 0.0);
        for (std::int64_t s = from(t); s < to(t); ++s) {
          const double weight = std::exp(score(b, h, t, s));
          sum += weight;
          for (std::int64_t c = 0; c < C; ++c) row[static_cast<std::size_t>(c)] += weight * value(b, s, h, c);
        }
        for (const double r : row) y.push_back(r / sum);
      }
  return Tensor::from(y, {B, T, H * C});
}

}  // namespace

TEST_CASE("Transformer-XL's attention is its formula") {
  constexpr std::int64_t B = 2, T = 70, M = 90, S = M + T, H = 2, C = 5;
  const Tensor q = uniform({B, T, H, C}, 1), k = uniform({B, S, H, C}, 2), v = uniform({B, S, H, C}, 3),
               r = uniform({S, H, C}, 4), u = uniform({H, C}, 5), w = uniform({H, C}, 6);
  const View qv(q), kv(k), rv(r), uv(u), wv(w);
  // ((q_i + u) . k_j + (q_i + w) . r_(i - j)) / sqrt(C), with i = M + t
  const auto score = [&](std::int64_t b, std::int64_t h, std::int64_t t, std::int64_t s) {
    double sum = 0.0;
    for (std::int64_t c = 0; c < C; ++c)
      sum += (qv(b, t, h, c) + uv(h, c)) * kv(b, s, h, c) + (qv(b, t, h, c) + wv(h, c)) * rv(M + t - s, h, c);
    return sum / std::sqrt(static_cast<double>(C));
  };
  const Tensor expected = weighted_sum(
      T, v, score, [](std::int64_t) { return 0; }, [](std::int64_t t) { return M + t + 1; });
  const Tensor y =
      ops::attention({Variable(q)}, {Variable(k)}, {Variable(v)},
                     {.relative = Variable(r), .query_bias = Variable(u), .relative_bias = Variable(w)})
          .value();
  CHECK(distance(y, expected) < 1e-12);
}

TEST_CASE("span attention is its formula") {
  // Query t stands at L + t of the concatenation and sees t .. t + L - 1; r of distance d is row d - 1.
  constexpr std::int64_t B = 2, T = 70, L = 90, S = L + T, H = 2, C = 5;
  const Tensor q = uniform({B, T, H, C}, 1), r = uniform({L, C}, 4), k = uniform({B, S, H, C}, 2),
               v = uniform({B, S, H, C}, 3);
  for (std::int64_t b = 0; b < B; ++b)  // a cache that starts empty: zeros, which are seen
    for (const Tensor& x : {k, v}) x.view({B * S, H * C}).slice0(b * S, b * S + L).fill(0.0);
  const View qv(q), kv(k), rv(r);
  const auto score = [&](std::int64_t b, std::int64_t h, std::int64_t t, std::int64_t s) {
    double sum = 0.0;
    for (std::int64_t c = 0; c < C; ++c) sum += qv(b, t, h, c) * (kv(b, s, h, c) + rv(L + t - s - 1, c));
    return sum / std::sqrt(static_cast<double>(C));
  };
  const AttentionOptions options{.current = false, .window = L, .relative = Variable(r), .first_distance = 1};
  const auto attend = [&](const AttentionOptions& o) {
    return ops::attention({Variable(q)}, {Variable(k)}, {Variable(v)}, o).value();
  };
  const auto last = [](std::int64_t t) { return t + L; };
  CHECK(distance(attend(options), weighted_sum(
                                      T, v, score, [](std::int64_t t) { return t; }, last)) < 1e-12);

  AttentionOptions masked = options;  // the empty part of the cache is not seen
  masked.begin = Tensor::from(std::vector<std::int64_t>(B, L), {B});
  const Tensor y = attend(masked);
  const Tensor rest = weighted_sum(
      T, v, score, [](std::int64_t) { return L; }, last);
  for (std::int64_t b = 0; b < B; ++b) {
    const auto rows = [&](const Tensor& x, std::int64_t begin, std::int64_t end) {
      return x.view({B * T, H * C}).slice0(b * T + begin, b * T + end);
    };
    CHECK(distance(rows(y, 1, T), rows(rest, 1, T)) < 1e-12);
    CHECK(distance(rows(y, 0, 1), Tensor::zeros({1, H * C}, DType::f64)) == 0.0);  // it sees nothing
  }
}

TEST_CASE("with a cache, piece by piece, every form is the whole") {
  constexpr std::int64_t B = 2, T = 150, H = 4, G = 2, C = 6;
  const Variable shared(uniform({T, C}, 1)), per_head(uniform({T, H, C}, 2)), u(uniform({H, C}, 3)),
      w(uniform({H, C}, 4));
  const Tensor begin = Tensor::from(std::vector<std::int64_t>{5, 80}, {B});
  const std::vector<AttentionOptions> forms = {
      {},
      {.scale = 0.7, .window = 40},
      {.current = false},
      {.current = false, .window = 30, .relative = shared, .first_distance = 1},
      {.begin = begin},
      {.relative = shared},
      {.begin = begin, .relative = per_head, .query_bias = u, .relative_bias = w},
      {.window = 10, .relative = per_head, .relative_bias = w},
  };
  const Tensor x = uniform({B, T, H + 2 * G, C}, 7);
  for (std::size_t i = 0; i < forms.size(); ++i) {
    CAPTURE(i);
    const auto run = [&](const Tensor& part, const auto& f) {
      const Variable p(part);
      return f(ops::Heads{p, 0, H}, ops::Heads{p, H, G}, ops::Heads{p, H + G, G});
    };
    const Tensor whole = run(x, [&](const auto& q, const auto& k, const auto& v) {
      return ops::attention(q, k, v, forms[i]).value();
    });
    const Tensor cache =
        Tensor::full({2, B, T + 9, G, C}, kNaN, DType::f64);  // what is not filled stays unread
    std::int64_t position = 0;
    for (const std::int64_t step : {1, 1, 70, 1, 13, 64}) {
      const auto part = [&](const Tensor& t) {
        return ops::slice(Variable(t), 1, position, position + step).value();
      };
      const Tensor y = run(part(x), [&](const auto& q, const auto& k, const auto& v) {
        return ops::cached_attention(q, k, v, cache, position, forms[i]);
      });
      CHECK(distance(y, part(whole)) < 1e-13);
      position += step;
    }
    CHECK(position == T);
    for (std::int64_t half = 0; half < 2; ++half) {  // keys, then values
      const Tensor filled = cache.slice0(half, half + 1).view({B, T + 9, G, C});
      const std::int64_t head = H + half * G;
      CHECK(distance(ops::slice(Variable(filled), 1, 0, T).value(),
                     ops::slice(Variable(x), 2, head, head + G).value()) == 0.0);
    }
  }
}

TEST_CASE("what is masked has no influence, not even as NaN") {
  constexpr std::int64_t B = 3, T = 70, S = 200, H = 2, C = 3, R = 300;
  const std::vector<std::int64_t> begins = {0, 60, 150}, ends = {130, 200, 150};  // the last sees nothing
  const Tensor clean = uniform({B, S, 2, C}, 1), spoilt = clean.clone(), table = uniform({R, C}, 2);
  for (std::int64_t b = 0; b < B; ++b) {
    const Tensor keys = spoilt.view({B * S, 2 * C});
    const auto at = static_cast<std::size_t>(b);
    keys.slice0(b * S, b * S + begins[at]).fill(kNaN);
    keys.slice0(b * S + ends[at], (b + 1) * S).fill(kNaN);
  }
  for (const bool causal : {true, false}) {
    CAPTURE(causal);
    // Distances that nobody sees are not read either.
    const std::int64_t unused = causal ? 50 : R - S - T + 1;
    const Tensor r = table.clone();
    r.slice0(0, unused).fill(kNaN);
    const std::int64_t first = (causal ? 0 : -(T - 1)) - unused;
    const Variable q(uniform({B, T, H, C}, 3), true);
    std::vector<Tensor> results;
    for (const Tensor& kv : {clean, spoilt}) {
      const Variable x(kv, true), distances(kv.shares_memory_with(clean) ? table : r, true);
      const AttentionOptions options{.causal = causal,
                                     .begin = Tensor::from(begins, {B}),
                                     .end = Tensor::from(ends, {B}),
                                     .relative = distances,
                                     .first_distance = first};
      Tape tape;
      const Variable y = ops::attention({q}, {x, 0, 1}, {x, 1, 1}, options);
      tape.backward(y, uniform(y.shape(), 4));
      for (const Tensor& result : {y.value(), q.grad(), x.grad(), distances.grad()})
        results.push_back(result);
      q.clear_grad();
    }
    for (std::size_t i = 0; i < 4; ++i) CHECK(distance(results[i + 4], results[i]) == 0.0);
    for (std::size_t i = 0; i < 2; ++i)  // the sequence without keys
      CHECK(distance(results[i].view({B, T * H * C}).slice0(2, 3),
                     Tensor::zeros({1, T * H * C}, DType::f64)) == 0.0);
  }
}

TEST_CASE("a tile of 64 queries reads no key that none of them sees") {
  constexpr std::int64_t T = 200, C = 3;
  const Tensor qkv = uniform({1, T, 3, C}, 1);
  for (const std::int64_t s : {0, 199})  // not seen by the queries from 64 on, and by those before 192
    for (std::int64_t c = C; c < 3 * C; ++c) qkv.data<double>()[s * 3 * C + c] = kNaN;
  const Variable x(qkv, true);
  Tape tape;
  const Variable y = ops::attention({x, 0, 1}, {x, 1, 1}, {x, 2, 1}, {.window = 2});
  tape.backward(y, uniform(y.shape(), 2));
  const auto finite = [](const Tensor& t, std::int64_t begin, std::int64_t end) {
    return all_finite(t.view({T, t.numel() / T}).slice0(begin, end));
  };
  CHECK_FALSE(finite(y.value(), 0, 1));
  CHECK(finite(y.value(), 64, 192));
  CHECK_FALSE(finite(y.value(), 199, 200));
  CHECK(finite(x.grad(), 64, 191));  // key 191 is seen by query 192, of the last tile
}

TEST_CASE("attention never holds T x S numbers") {
  constexpr std::int64_t T = 8192, C = 4;
  const Variable x(uniform({1, T, 3, C}, 1, DType::f32), true), r(uniform({T, C}, 2, DType::f32), true),
      u(uniform({1, C}, 3, DType::f32), true), w(uniform({1, C}, 4, DType::f32), true);
  const Tensor dy = uniform({1, T, C}, 5, DType::f32);
  CachingAllocator& memory = allocator(kCpu);
  memory.reset_peak();
  const std::size_t before = memory.stats().in_use_bytes;
  Tape tape;
  tape.backward(
      ops::attention({x, 0, 1}, {x, 1, 1}, {x, 2, 1}, {.relative = r, .query_bias = u, .relative_bias = w}),
      dy);
  // Inputs, gradients and copies are a dozen matrices of T x C; one of T x T alone would be 256 MiB.
  CHECK(memory.stats().peak_bytes - before < 16 * T * C * sizeof(float));
}
