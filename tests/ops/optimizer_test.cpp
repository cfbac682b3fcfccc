#include "ops/optimizer.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/parallel_for.hpp"
#include "engine/philox.hpp"

// The kernels against the formulas of the papers, written out in double.

using namespace simsmoe;

namespace {

constexpr std::int64_t kElements = 67;  // no multiple of a vector
constexpr int kSteps = 10;

std::vector<double> numbers(std::int64_t n, std::uint64_t seed) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < n; ++i)
    values.push_back(random_normal({seed, stream_of("optimizer_test")}, 0, static_cast<std::uint64_t>(i)));
  return values;
}

Tensor tensor(const std::vector<double>& values, DType dtype) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())}).to(dtype);
}

double largest_difference(const Tensor& a, const std::vector<double>& b) {
  const std::vector<double> values = a.to_vector<double>();
  double worst = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) worst = std::max(worst, std::abs(values[i] - b[i]));
  return worst;
}

// f32: rounding of ten steps of numbers near 1. bf16 keeps 8 bits of every number, state included.
double tolerance(DType dtype) { return dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 3e-6 : 0.1; }

struct Reference {
  std::vector<double> p = numbers(kElements, 1), m = std::vector<double>(kElements), v = m;

  // Kingma, Ba, "Adam", 2015, algorithm 1; Loshchilov, Hutter, "Decoupled weight decay", 2019, algorithm 2.
  void adam(const std::vector<double>& gradients, const ops::AdamStep& s) {
    for (std::size_t i = 0; i < p.size(); ++i) {
      double g = s.gradient_scale * gradients[i];
      if (s.coupled_decay)
        g += s.weight_decay * p[i];
      else
        p[i] -= s.lr * s.weight_decay * p[i];
      m[i] = s.beta1 * m[i] + (1 - s.beta1) * g;
      v[i] = s.beta2 * v[i] + (1 - s.beta2) * g * g;
      const double t = static_cast<double>(s.step);
      const double m_hat = m[i] / (1 - std::pow(s.beta1, t)), v_hat = v[i] / (1 - std::pow(s.beta2, t));
      p[i] -= s.lr * m_hat / (std::sqrt(v_hat) + s.eps);
    }
  }

  // m is the momentum buffer.
  void sgd(const std::vector<double>& gradients, const ops::SgdStep& s) {
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double g = s.gradient_scale * gradients[i] + s.weight_decay * p[i];
      m[i] = s.momentum * m[i] + g;
      p[i] -= s.lr * (s.nesterov ? g + s.momentum * m[i] : m[i]);
    }
  }
};

// Ten steps in every dtype.
void check_adam(ops::AdamStep step) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    CAPTURE(name_of(dtype));
    Reference expected;
    const Tensor p = tensor(expected.p, dtype), m = tensor(expected.m, dtype), v = tensor(expected.v, dtype);
    for (int t = 1; t <= kSteps; ++t) {
      const std::vector<double> g = numbers(kElements, 100 + static_cast<std::uint64_t>(t));
      step.step = t;
      ops::adam_step(p, tensor(g, dtype), m, v, step);
      expected.adam(g, step);
    }
    CHECK(largest_difference(p, expected.p) < tolerance(dtype));
    CHECK(largest_difference(m, expected.m) < tolerance(dtype));
    CHECK(largest_difference(v, expected.v) < tolerance(dtype));
  }
}

void check_sgd(const ops::SgdStep& step, bool with_buffer) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    CAPTURE(name_of(dtype));
    Reference expected;
    const Tensor p = tensor(expected.p, dtype);
    const Tensor u = with_buffer ? tensor(expected.m, dtype) : Tensor();
    for (int t = 1; t <= kSteps; ++t) {
      const std::vector<double> g = numbers(kElements, 100 + static_cast<std::uint64_t>(t));
      ops::sgd_step(p, tensor(g, dtype), u, step);
      expected.sgd(g, step);
    }
    CHECK(largest_difference(p, expected.p) < tolerance(dtype));
  }
}

}  // namespace

TEST_CASE("adam_step follows the paper") {
  SUBCASE("Adam") { check_adam({.lr = 0.01}); }
  SUBCASE("decoupled decay") { check_adam({.lr = 0.01, .weight_decay = 0.1}); }
  SUBCASE("coupled decay") { check_adam({.lr = 0.01, .weight_decay = 0.1, .coupled_decay = true}); }
  SUBCASE("other moments, scaled gradients") {
    check_adam({.lr = 0.01, .beta1 = 0.5, .beta2 = 0.9, .eps = 1e-3, .gradient_scale = 0.25});
  }
}

TEST_CASE("decoupled decay does not pass through the moments") {
  const Tensor p = Tensor::full({3}, 2.0, DType::f64), g = Tensor::zeros({3}, DType::f64);
  const Tensor m = Tensor::zeros({3}, DType::f64), v = Tensor::zeros({3}, DType::f64);
  ops::adam_step(p, g, m, v, {.lr = 0.5, .weight_decay = 0.1});
  CHECK(p.to_vector<double>() == std::vector<double>(3, 2.0 * (1.0 - 0.5 * 0.1)));
  CHECK(m.to_vector<double>() == std::vector<double>(3, 0.0));
  ops::adam_step(p, g, m, v, {.lr = 0.5, .weight_decay = 0.1, .coupled_decay = true});
  CHECK(m.to_vector<double>()[0] > 0.0);
}

TEST_CASE("sgd_step follows its formula") {
  SUBCASE("plain, no buffer") { check_sgd({.lr = 0.1}, false); }
  SUBCASE("decay, scaled gradients") {
    check_sgd({.lr = 0.1, .weight_decay = 0.1, .gradient_scale = 0.5}, false);
  }
  SUBCASE("momentum") { check_sgd({.lr = 0.02, .momentum = 0.9}, true); }
  SUBCASE("nesterov") {
    check_sgd({.lr = 0.02, .momentum = 0.9, .weight_decay = 0.1, .nesterov = true}, true);
  }
}

TEST_CASE("squared_norm sums in double, alike for any number of threads") {
  struct Restore {
    int threads = num_threads();
    ~Restore() { set_num_threads(threads); }
  } restore;
  const std::vector<double> values = numbers(100'003, 5);
  double exact = 0.0;
  for (const double x : values) exact += x * x;
  CHECK(ops::squared_norm(tensor(values, DType::f64)) == doctest::Approx(exact).epsilon(1e-13));
  CHECK(ops::squared_norm(tensor(values, DType::f32)) == doctest::Approx(exact).epsilon(1e-7));
  CHECK(ops::squared_norm(tensor(values, DType::bf16)) == doctest::Approx(exact).epsilon(1e-3));
  set_num_threads(1);
  const double one = ops::squared_norm(tensor(values, DType::f32));
  for (const int threads : {2, 3, 7}) {
    set_num_threads(threads);
    CHECK(ops::squared_norm(tensor(values, DType::f32)) == one);
  }
  CHECK(ops::squared_norm(Tensor::empty({0}, DType::f32)) == 0.0);
  // 1e30 squared is beyond f32
  CHECK(ops::squared_norm(Tensor::full({2}, 1e30, DType::f32)) == doctest::Approx(2e60));
}

TEST_CASE("updates do not depend on the number of threads, and pass over nothing") {
  struct Restore {
    int threads = num_threads();
    ~Restore() { set_num_threads(threads); }
  } restore;
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    const Tensor p = tensor(numbers(70'001, 1), DType::f32), g = tensor(numbers(70'001, 2), DType::f32);
    const Tensor m = Tensor::zeros_like(p), v = Tensor::zeros_like(p);
    ops::adam_step(p, g, m, v, {});
    ops::sgd_step(p, g, m, {.momentum = 0.9});
    results.push_back(p.to_vector<float>());
  }
  CHECK(results[0] == results[1]);
  const Tensor none = Tensor::empty({0}, DType::f32);
  CHECK_NOTHROW(ops::adam_step(none, none, none, none, {}));
  CHECK_NOTHROW(ops::sgd_step(none, none, {}, {}));
}

TEST_CASE("optimizer steps explain misuse") {
  const Tensor p = Tensor::zeros({3}, DType::f32), wide = Tensor::zeros({4}, DType::f32);
  const Tensor exact = Tensor::zeros({3}, DType::f64), integers = Tensor::zeros({3}, DType::i32);
  using doctest::Contains;
  CHECK_THROWS_WITH_AS(ops::adam_step(p, wide, p, p, {}), Contains("[adam_step] the gradient is f32 [4]"),
                       Error);
  CHECK_THROWS_WITH_AS(ops::adam_step(p, p, exact, p, {}), Contains("[adam_step] operands differ"), Error);
  CHECK_THROWS_WITH_AS(ops::adam_step(p, p, p, wide, {}), Contains("[adam_step] the second moment"), Error);
  CHECK_THROWS_WITH_AS(ops::adam_step(integers, p, p, p, {}), Contains("[adam_step] expected a float"),
                       Error);
  CHECK_THROWS_WITH_AS(ops::adam_step(p, p, p, p, {.step = 0}), Contains("[adam_step] steps count from 1"),
                       Error);
  CHECK_THROWS_WITH_AS(ops::sgd_step(p, p, {}, {.momentum = 0.9}), Contains("[sgd_step] momentum 0.9"),
                       Error);
  CHECK_THROWS_WITH_AS(ops::sgd_step(p, exact, {}, {}), Contains("[sgd_step] operands differ"), Error);
  CHECK_THROWS_WITH_AS(ops::sgd_step(p, p, wide, {}), Contains("[sgd_step] the momentum"), Error);
  CHECK_THROWS_WITH_AS(ops::squared_norm(integers), Contains("[squared_norm] expected a float"), Error);
}
