// Moments, bounds and determinism of the initialisers.

#include "nn/init.hpp"

#include <numeric>

#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

namespace {

constexpr RandomKey kKey{3, stream_of("some.weight")};

struct Moments {
  double mean = 0.0, variance = 0.0, low = INFINITY, high = -INFINITY;
};

Moments moments(const Tensor& x) {
  Moments m;
  const std::vector<double> values = x.to_vector<double>();
  const double n = static_cast<double>(values.size());
  m.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  for (const double v : values) {
    m.variance += (v - m.mean) * (v - m.mean) / n;
    m.low = std::min(m.low, v);
    m.high = std::max(m.high, v);
  }
  return m;
}

}  // namespace

TEST_CASE("normal has the mean and the standard deviation that it is asked for") {
  const Moments m = moments(init::normal(0.02)({100, 200}, DType::f64, kKey));
  CHECK(std::abs(m.mean) < 4 * 0.02 / std::sqrt(20000.0));
  CHECK(std::sqrt(m.variance) / 0.02 == doctest::Approx(1.0).epsilon(0.015));
}

TEST_CASE("uniform fills its interval and no more") {
  const Moments m = moments(init::uniform(0.5)({100, 200}, DType::f64, kKey));
  CHECK(m.low >= -0.5);
  CHECK(m.high < 0.5);
  CHECK(m.low < -0.499);
  CHECK(m.high > 0.499);
  CHECK(std::abs(m.mean) < 4 * 0.5 / std::sqrt(3.0 * 20000.0));
  CHECK(m.variance / (0.25 / 3.0) == doctest::Approx(1.0).epsilon(0.015));
}

TEST_CASE("kaiming_uniform is bounded by 1/sqrt(fan_in)") {
  const Moments m = moments(init::kaiming_uniform(64)({200, 64}, DType::f64, kKey));
  CHECK(m.high <= 0.125);
  CHECK(m.low >= -0.125);
  CHECK(m.high > 0.124);
  CHECK_THROWS_AS(init::kaiming_uniform(0), Error);
}

TEST_CASE("linear chooses the convention, residual_std divides the variance") {
  const Shape shape{40, 50};
  CHECK(testing::same_bits(init::linear(50, 0.0)(shape, DType::f32, kKey),
                           init::kaiming_uniform(50)(shape, DType::f32, kKey)));
  CHECK(testing::same_bits(init::linear(50, 0.02)(shape, DType::f32, kKey),
                           init::normal(0.02)(shape, DType::f32, kKey)));
  CHECK(init::residual_std(0.02, 16) / 0.005 == doctest::Approx(1.0));
}

TEST_CASE("orthogonal rows or columns are orthonormal times the gain") {
  constexpr double kGain = 0.32;
  for (const Shape& shape : {Shape{5, 9}, Shape{9, 5}, Shape{6, 6}, Shape{2, 3, 12}}) {
    const std::vector<double> w = init::orthogonal(kGain)(shape, DType::f64, kKey).to_vector<double>();
    const auto rows = static_cast<std::size_t>(shape.outer(-1)),
               columns = static_cast<std::size_t>(shape[-1]);
    const bool by_rows = rows <= columns;
    const std::size_t count = std::min(rows, columns), size = std::max(rows, columns);
    const auto at = [&](std::size_t vector, std::size_t i) {
      return by_rows ? w[vector * columns + i] : w[i * columns + vector];
    };
    for (std::size_t a = 0; a < count; ++a) {
      for (std::size_t b = 0; b < count; ++b) {
        double dot = 0.0;
        for (std::size_t i = 0; i < size; ++i) dot += at(a, i) * at(b, i);
        CHECK(std::abs(dot - (a == b ? kGain * kGain : 0.0)) < 1e-14);
      }
    }
  }
  CHECK_THROWS_AS(init::orthogonal(1.0)({3}, DType::f32, kKey), Error);
}

TEST_CASE("an initialiser is a function of its key, rounded once to the dtype") {
  for (const Init& init : {init::normal(1.0), init::uniform(1.0), init::orthogonal(1.0)}) {
    const Tensor once = init({8, 8}, DType::f64, kKey);
    CHECK(testing::same_bits(once, init({8, 8}, DType::f64, kKey)));
    CHECK(testing::same_bits(once.to(DType::f32), init({8, 8}, DType::f32, kKey)));
    CHECK_FALSE(testing::same_bits(once, init({8, 8}, DType::f64, {4, kKey.stream})));
  }
}

}  // namespace simsmoe::nn
