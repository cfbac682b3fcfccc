#include "ops/attention.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/philox.hpp"
#include "ops/layout.hpp"
#include "ops/rotary.hpp"

// Attention against its definition, and the cache against the whole.

using namespace simsmoe;

namespace {

Tensor random(const Shape& shape, DType dtype) {
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  const RandomKey key{7, stream_of("attention_test")};
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(bf16(2.0f * random_uniform(key, 0, i) - 1.0f));
  return Tensor::from(values, shape).to(dtype);
}

// The largest |a - b|.
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

// y_t = sum_{s <= t} softmax_s(scale q_t . k_s) v_s, word for word.
Tensor naive_attention(const Tensor& qkv, double scale) {
  const std::int64_t B = qkv.size(0), T = qkv.size(1), H = qkv.size(3), C = qkv.size(4);
  const std::vector<double> x = qkv.to_vector<double>();
  const auto at = [&](std::int64_t b, std::int64_t t, std::int64_t part, std::int64_t h, std::int64_t c) {
    return x[static_cast<std::size_t>((((b * T + t) * 3 + part) * H + h) * C + c)];
  };
  std::vector<double> y(static_cast<std::size_t>(B * T * H * C), 0.0);
  for (std::int64_t b = 0; b < B; ++b)
    for (std::int64_t h = 0; h < H; ++h)
      for (std::int64_t t = 0; t < T; ++t) {
        std::vector<double> weight;
        double sum = 0.0;
        for (std::int64_t s = 0; s <= t; ++s) {
          double score = 0.0;
          for (std::int64_t c = 0; c < C; ++c) score += at(b, t, 0, h, c) * at(b, s, 1, h, c);
          weight.push_back(std::exp(scale * score));
          sum += weight.back();
        }
        for (std::int64_t s = 0; s <= t; ++s)
          for (std::int64_t c = 0; c < C; ++c)
            y[static_cast<std::size_t>(((b * T + t) * H + h) * C + c)] +=
                weight[static_cast<std::size_t>(s)] / sum * at(b, s, 2, h, c);
      }
  return Tensor::from(y, {B, T, H * C});
}

double rounding(DType dtype) { return dtype == DType::f64 ? 1e-14 : dtype == DType::f32 ? 1e-6 : 4e-3; }

}  // namespace

TEST_CASE("causal attention is its definition") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16})
    for (const Shape& shape : {Shape{2, 1, 3, 2, 4}, Shape{1, 64, 3, 1, 8}, Shape{2, 65, 3, 3, 5},
                               Shape{1, 129, 3, 2, 16}, Shape{1, 200, 3, 1, 33}}) {
      CAPTURE(name_of(dtype));
      CAPTURE(shape.to_string());
      const Tensor qkv = random(shape, dtype);
      CHECK(distance(ops::causal_attention(Variable(qkv), 0.7).value(), naive_attention(qkv, 0.7)) <=
            rounding(dtype));
    }
}

TEST_CASE("cached attention, piece by piece, is causal attention") {
  constexpr std::int64_t B = 2, T = 150, H = 3, C = 8;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    CAPTURE(name_of(dtype));
    const Tensor qkv = random({B, T, 3, H, C}, dtype);
    const Tensor whole = ops::causal_attention(Variable(qkv)).value();
    const Tensor cache =
        Tensor::full({2, B, T + 5, H, C}, std::nan(""), dtype);  // unused entries stay unread
    std::int64_t position = 0;
    for (const std::int64_t step : {1, 1, 70, 1, 13, 64}) {
      const auto part = [&](const Tensor& x) {
        return ops::slice(Variable(x), 1, position, position + step).value();
      };
      const std::uint64_t version = cache.version();
      const Tensor y = ops::cached_attention(part(qkv), cache, position);
      CHECK(cache.version() > version);
      CHECK(distance(y, part(whole)) <= rounding(dtype));
      position += step;
    }
    CHECK(position == T);
  }
}

TEST_CASE("rotary scores depend on the distance of two positions alone") {
  // One query and key vector at every position: q_t . k_s after the turn is a function of t - s.
  constexpr std::int64_t T = 9, C = 8;
  const Tensor one = random({1, 1, 3, 1, C}, DType::f64);
  const Tensor qkv = Tensor::empty({1, T, 3, 1, C}, DType::f64);
  for (std::int64_t t = 0; t < T; ++t) qkv.view({T, 3 * C}).slice0(t, t + 1).copy_from(one.view({1, 3 * C}));
  const std::vector<double> x = ops::rotary(Variable(qkv), 100).value().to_vector<double>();
  const auto score = [&](std::int64_t t, std::int64_t s) {
    double sum = 0.0;
    for (std::int64_t c = 0; c < C; ++c)
      sum += x[static_cast<std::size_t>(t * 3 * C + c)] * x[static_cast<std::size_t>((s * 3 + 1) * C + c)];
    return sum;
  };
  for (std::int64_t t = 3; t < T; ++t) {
    CHECK(score(t, t - 3) == doctest::Approx(score(3, 0)).epsilon(1e-12));
    CHECK(std::abs(score(t, t - 3) - score(t, t)) > 1e-3);
  }
  for (std::int64_t c = 0; c < C; ++c)  // values pass
    CHECK(x[static_cast<std::size_t>(2 * C + c)] ==
          one.to_vector<double>()[static_cast<std::size_t>(2 * C + c)]);
}
