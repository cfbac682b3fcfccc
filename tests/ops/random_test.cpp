#include "ops/random.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/parallel_for.hpp"
#include "ops/unary.hpp"

// The mask of dropout is a function of (key, step, element): of nothing else.

using namespace simsmoe;

namespace {

constexpr RandomKey kKey{.seed = 11, .stream = stream_of("random_test")};

std::vector<float> mask(std::int64_t n, double p, RandomKey key = kKey, std::uint64_t step = 0,
                        DType dtype = DType::f32) {
  std::vector<float> y =
      ops::dropout(Variable(Tensor::full({n}, 1.0, dtype)), p, key, step).value().to_vector<float>();
  for (float& value : y) value = value == 0.0f ? 0.0f : 1.0f;
  return y;
}

double mean(const std::vector<float>& values) {
  double sum = 0.0;
  for (const float v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

}  // namespace

TEST_CASE("backward from an op that returns its input") {
  const std::vector<double> dy{1, 10};
  const auto gradient = [&](const auto& op) {
    const Variable x(Tensor::from(std::vector<double>{3, 4}, {2}), true);
    Tape tape;
    tape.backward(op(x), Tensor::from(dy, {2}));
    return x.grad().to_vector<double>();
  };
  CHECK(gradient([](const Variable& x) { return ops::dropout(x, 0.0, {}, 0); }) == dy);
  CHECK(gradient([](const Variable& x) { return ops::cast(x, DType::f64); }) == dy);
}

TEST_CASE("dropout keeps element i where uniform(key, step, i) >= p, and scales it") {
  const std::int64_t n = 1031;  // several batches of draws and a tail that is no multiple of four
  const double p = 0.3;
  const Tensor x = Tensor::full({n}, 0.7, DType::f64);
  const std::vector<double> y = ops::dropout(Variable(x), p, kKey, 5).value().to_vector<double>();
  bool right = true;
  for (std::size_t i = 0; i < y.size(); ++i)
    right = right && y[i] == (random_uniform(kKey, 5, i) >= p ? 0.7 * (1.0 / (1.0 - p)) : 0.0);
  CHECK(right);
}

TEST_CASE("dropout drops a share p, evenly, and keeps the mean") {
  const std::int64_t n = 200'000;
  for (const double p : {0.05, 0.5, 0.9}) {
    const std::vector<float> kept = mask(n, p);
    const double deviation = std::sqrt(p * (1.0 - p) / static_cast<double>(n));
    CHECK(std::abs(mean(kept) - (1.0 - p)) < 4.0 * deviation);
    // Neighbours are independent: both kept with probability (1 - p)^2.
    double pairs = 0.0;
    for (std::size_t i = 0; i + 1 < kept.size(); ++i) pairs += kept[i] * kept[i + 1];
    CHECK(std::abs(pairs / static_cast<double>(n) - (1.0 - p) * (1.0 - p)) < 8.0 * deviation);
  }
}

TEST_CASE("the mask depends on key and step, not on dtype, length or threads") {
  struct Restore {
    int threads = num_threads();
    ~Restore() { set_num_threads(threads); }
  } restore;
  const std::int64_t n = 70'003;
  set_num_threads(1);
  const std::vector<float> one = mask(n, 0.5);
  for (const int threads : {2, 3}) {
    set_num_threads(threads);
    CHECK(mask(n, 0.5) == one);
  }
  CHECK(mask(n, 0.5, kKey, 0, DType::f64) == one);
  CHECK(mask(n, 0.5, kKey, 0, DType::bf16) == one);
  CHECK(mask(9, 0.5) == std::vector<float>(one.begin(), one.begin() + 9));
  CHECK(mask(n, 0.5, kKey, 1) != one);
  CHECK(mask(n, 0.5, {kKey.seed + 1, kKey.stream}) != one);
  CHECK(mask(n, 0.5, {kKey.seed, stream_of("another")}) != one);
}

TEST_CASE("dropout with p = 0 is the variable itself") {
  const Variable x(Tensor::full({3}, 1.0, DType::f32), true);
  Tape tape;
  CHECK(ops::dropout(x, 0.0, kKey, 0).same_as(x));
  CHECK(tape.nodes().empty());
}

TEST_CASE("uniform and normal: element i is the draw of (key, step, i)") {
  const Tensor u = ops::uniform({3, 5}, DType::f64, kKey, 4), n = ops::normal({3, 5}, DType::f64, kKey, 4);
  REQUIRE(u.shape() == Shape{3, 5});
  for (std::uint64_t i = 0; i < 15; ++i) {
    CHECK(u.host<const double>()[i] == random_uniform(kKey, 4, i));
    CHECK(n.host<const double>()[i] == random_normal(kKey, 4, i));
  }
  CHECK(ops::uniform({0}, DType::f32, kKey, 0).numel() == 0);
}
