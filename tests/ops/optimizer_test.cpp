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

// What comes beside the step.
struct Options {
  double weight_decay = 0.0, scale = 1.0;
};

Tensor scalar(double value) { return Tensor::full({}, value, DType::f64); }

struct Reference {
  std::vector<double> p = numbers(kElements, 1), m = std::vector<double>(kElements), v = m;

  // Kingma, Ba, "Adam", 2015, algorithm 1; Loshchilov, Hutter, "Decoupled weight decay", 2019, algorithm 2.
  void adam(const std::vector<double>& gradients, const ops::AdamStep& s, const Options& o, int step) {
    for (std::size_t i = 0; i < p.size(); ++i) {
      double g = o.scale * gradients[i];
      if (s.coupled_decay)
        g += o.weight_decay * p[i];
      else
        p[i] -= s.lr * o.weight_decay * p[i];
      m[i] = s.beta1 * m[i] + (1 - s.beta1) * g;
      v[i] = s.beta2 * v[i] + (1 - s.beta2) * g * g;
      const double t = step;
      const double m_hat = m[i] / (1 - std::pow(s.beta1, t)), v_hat = v[i] / (1 - std::pow(s.beta2, t));
      p[i] -= s.lr * m_hat / (std::sqrt(v_hat) + s.eps);
    }
  }

  // m is the momentum buffer.
  void sgd(const std::vector<double>& gradients, const ops::SgdStep& s, const Options& o) {
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double g = o.scale * gradients[i] + o.weight_decay * p[i];
      m[i] = s.momentum * m[i] + g;
      p[i] -= s.lr * (s.nesterov ? g + s.momentum * m[i] : m[i]);
    }
  }
};

// Ten steps in every dtype.
void check_adam(const ops::AdamStep& step, const Options& o = {}) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    CAPTURE(name_of(dtype));
    Reference expected;
    const Tensor p = tensor(expected.p, dtype), m = tensor(expected.m, dtype), v = tensor(expected.v, dtype);
    for (int t = 1; t <= kSteps; ++t) {
      const std::vector<double> g = numbers(kElements, 100 + static_cast<std::uint64_t>(t));
      ops::adam_step({{p, tensor(g, dtype), m, v, o.weight_decay, t}}, step, scalar(o.scale));
      expected.adam(g, step, o, t);
    }
    CHECK(largest_difference(p, expected.p) < tolerance(dtype));
    CHECK(largest_difference(m, expected.m) < tolerance(dtype));
    CHECK(largest_difference(v, expected.v) < tolerance(dtype));
  }
}

void check_sgd(const ops::SgdStep& step, bool with_buffer, const Options& o = {}) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    CAPTURE(name_of(dtype));
    Reference expected;
    const Tensor p = tensor(expected.p, dtype);
    const Tensor u = with_buffer ? tensor(expected.m, dtype) : Tensor();
    for (int t = 1; t <= kSteps; ++t) {
      const std::vector<double> g = numbers(kElements, 100 + static_cast<std::uint64_t>(t));
      ops::sgd_step({{p, tensor(g, dtype), u, o.weight_decay}}, step, scalar(o.scale));
      expected.sgd(g, step, o);
    }
    CHECK(largest_difference(p, expected.p) < tolerance(dtype));
  }
}

}  // namespace

TEST_CASE("adam_step follows the paper") {
  SUBCASE("Adam") { check_adam({.lr = 0.01}); }
  SUBCASE("decoupled decay") { check_adam({.lr = 0.01}, {.weight_decay = 0.1}); }
  SUBCASE("coupled decay") { check_adam({.lr = 0.01, .coupled_decay = true}, {.weight_decay = 0.1}); }
  SUBCASE("other moments, scaled gradients") {
    check_adam({.lr = 0.01, .beta1 = 0.5, .beta2 = 0.9, .eps = 1e-3}, {.scale = 0.25});
  }
}

TEST_CASE("decoupled decay does not pass through the moments") {
  const Tensor p = Tensor::full({3}, 2.0, DType::f64), g = Tensor::zeros({3}, DType::f64);
  const Tensor m = Tensor::zeros({3}, DType::f64), v = Tensor::zeros({3}, DType::f64);
  ops::adam_step({{p, g, m, v, 0.1}}, {.lr = 0.5});
  CHECK(p.to_vector<double>() == std::vector<double>(3, 2.0 * (1.0 - 0.5 * 0.1)));
  CHECK(m.to_vector<double>() == std::vector<double>(3, 0.0));
  ops::adam_step({{p, g, m, v, 0.1}}, {.lr = 0.5, .coupled_decay = true});
  CHECK(m.to_vector<double>()[0] > 0.0);
}

TEST_CASE("sgd_step follows its formula") {
  SUBCASE("plain, no buffer") { check_sgd({.lr = 0.1}, false); }
  SUBCASE("decay, scaled gradients") { check_sgd({.lr = 0.1}, false, {.weight_decay = 0.1, .scale = 0.5}); }
  SUBCASE("momentum") { check_sgd({.lr = 0.02, .momentum = 0.9}, true); }
  SUBCASE("nesterov") {
    check_sgd({.lr = 0.02, .momentum = 0.9, .nesterov = true}, true, {.weight_decay = 0.1});
  }
}

TEST_CASE("global_norm sums in double, alike for any number of threads") {
  struct Restore {
    int threads = num_threads();
    ~Restore() { set_num_threads(threads); }
  } restore;
  const std::vector<double> values = numbers(100'003, 5);
  double exact = 0.0;
  for (const double x : values) exact += x * x;
  const auto norm = [](const Tensor& x) { return ops::global_norm({x}).item(); };
  CHECK(norm(tensor(values, DType::f64)) == doctest::Approx(std::sqrt(exact)).epsilon(1e-13));
  CHECK(norm(tensor(values, DType::f32)) == doctest::Approx(std::sqrt(exact)).epsilon(1e-7));
  CHECK(norm(tensor(values, DType::bf16)) == doctest::Approx(std::sqrt(exact)).epsilon(1e-3));
  set_num_threads(1);
  const double one = norm(tensor(values, DType::f32));
  for (const int threads : {2, 3, 7}) {
    set_num_threads(threads);
    CHECK(norm(tensor(values, DType::f32)) == one);
  }
  CHECK(norm(Tensor::empty({0}, DType::f32)) == 0.0);
  // 1e30 squared is beyond f32
  CHECK(norm(Tensor::full({2}, 1e30, DType::f32)) == doctest::Approx(std::sqrt(2.0) * 1e30));
  const Tensor all = ops::global_norm({tensor({3.0}, DType::f32), tensor({0.0, 4.0}, DType::f64)});
  CHECK(all.dtype() == DType::f64);
  CHECK(all.item() == 5.0);
  CHECK(ops::global_norm({}).item() == 0.0);
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
    ops::adam_step({{p, g, m, v}}, {});
    ops::sgd_step({{p, g, m}}, {.momentum = 0.9});
    results.push_back(p.to_vector<float>());
  }
  CHECK(results[0] == results[1]);
  const Tensor none = Tensor::empty({0}, DType::f32);
  CHECK_NOTHROW(ops::adam_step({{none, none, none, none}}, {}));
  CHECK_NOTHROW(ops::sgd_step({{none, none, {}}}, {}));
  CHECK_NOTHROW(ops::adam_step({}, {}));
  CHECK_NOTHROW(ops::sgd_step({}, {}));
}

TEST_CASE("an update is a change of the parameter and its state, not of the gradient") {
  const Tensor p = Tensor::zeros({3}, DType::f32), g = Tensor::zeros({3}, DType::f32);
  const Tensor m = Tensor::zeros({3}, DType::f32), v = Tensor::zeros({3}, DType::f32);
  const auto versions = [&] { return std::vector{p.version(), g.version(), m.version(), v.version()}; };
  const auto changed = [&](const auto& step) {
    const std::vector<std::uint64_t> before = versions();
    step();
    std::vector<bool> result;
    for (std::size_t i = 0; i < before.size(); ++i) result.push_back(versions()[i] > before[i]);
    return result;
  };
  CHECK(changed([&] { ops::adam_step({{p, g, m, v}}, {}); }) == std::vector<bool>{true, false, true, true});
  CHECK(changed([&] { ops::sgd_step({{p, g, {}}}, {}); }) == std::vector<bool>{true, false, false, false});
  CHECK(changed([&] {
          ops::sgd_step({{p, g, m}}, {.momentum = 0.9});
        }) == std::vector<bool>{true, false, true, false});
}

TEST_CASE("optimizer steps explain misuse") {
  const Tensor p = Tensor::zeros({3}, DType::f32), wide = Tensor::zeros({4}, DType::f32);
  const Tensor exact = Tensor::zeros({3}, DType::f64), integers = Tensor::zeros({3}, DType::i32);
  using doctest::Contains;
  const auto adam = [](const ops::AdamSlot& slot, const Tensor& scale = {}) {
    ops::adam_step({slot}, {}, scale);
  };
  const auto sgd = [](const ops::SgdSlot& slot, double momentum = 0.0) {
    ops::sgd_step({slot}, {.momentum = momentum});
  };
  CHECK_THROWS_WITH_AS(adam({p, wide, p, p}), Contains("[adam_step] the gradient is f32 [4]"), Error);
  CHECK_THROWS_WITH_AS(adam({p, p, exact, p}), Contains("[adam_step] operands differ"), Error);
  CHECK_THROWS_WITH_AS(adam({p, p, p, wide}), Contains("[adam_step] the second moment"), Error);
  CHECK_THROWS_WITH_AS(adam({integers, p, p, p}), Contains("[adam_step] expected a float"), Error);
  CHECK_THROWS_WITH_AS(adam({p, p, p, p, 0.0, 0}), Contains("[adam_step] steps count from 1"), Error);
  CHECK_THROWS_WITH_AS(adam({p, p, p, p}, wide), Contains("[adam_step] expected a scale f64 []"), Error);
  CHECK_THROWS_WITH_AS(sgd({p, p, {}}, 0.9), Contains("[sgd_step] momentum 0.9"), Error);
  CHECK_THROWS_WITH_AS(sgd({p, exact, {}}), Contains("[sgd_step] operands differ"), Error);
  CHECK_THROWS_WITH_AS(sgd({p, p, wide}), Contains("[sgd_step] the momentum"), Error);
  CHECK_THROWS_WITH_AS(ops::global_norm({integers}), Contains("[global_norm] expected a float"), Error);
}

TEST_CASE("many parameters in one call are as many calls, each with its own decay and count") {
  const std::vector<double> a = numbers(5, 1), b = numbers(9, 2), ga = numbers(5, 3), gb = numbers(9, 4);
  const auto states = [&](bool together) {
    const Tensor p = tensor(a, DType::f64), q = tensor(b, DType::f32), m = Tensor::zeros_like(p);
    const Tensor v = Tensor::zeros_like(p), n = Tensor::zeros_like(q), w = Tensor::zeros_like(q);
    const ops::AdamSlot one{p, tensor(ga, DType::f64), m, v, 0.1, 3},
        two{q, tensor(gb, DType::f32), n, w, 0.0, 7};
    const ops::SgdSlot first{p, one.gradient, m, 0.2}, second{q, two.gradient, n, 0.0};
    for (int i = 0; i < 2; ++i)
      if (together) {
        ops::adam_step({one, two}, {.lr = 0.1});
        ops::sgd_step({first, second}, {.lr = 0.1, .momentum = 0.9});
      } else {
        ops::adam_step({one}, {.lr = 0.1});
        ops::adam_step({two}, {.lr = 0.1});
        ops::sgd_step({first}, {.lr = 0.1, .momentum = 0.9});
        ops::sgd_step({second}, {.lr = 0.1, .momentum = 0.9});
      }
    std::vector<double> all = p.to_vector<double>();
    for (const Tensor& t : {q, m, v, n, w})
      for (const double x : t.to_vector<double>()) all.push_back(x);
    return all;
  };
  CHECK(states(true) == states(false));
}

TEST_CASE("a scale that is not finite changes nothing: neither parameters nor state") {
  for (const double bad : {std::nan(""), HUGE_VAL}) {
    const Tensor p = tensor(numbers(5, 1), DType::f32), g = tensor(numbers(5, 2), DType::f32);
    const Tensor m = tensor(numbers(5, 3), DType::f32), v = tensor(numbers(5, 4), DType::f32);
    ops::adam_step({{p, g, m, v, 0.1, 2}}, {}, scalar(bad));
    ops::sgd_step({{p, g, m, 0.1}}, {.momentum = 0.9}, scalar(bad));
    CHECK(p.to_vector<float>() == tensor(numbers(5, 1), DType::f32).to_vector<float>());
    CHECK(m.to_vector<float>() == tensor(numbers(5, 3), DType::f32).to_vector<float>());
    CHECK(v.to_vector<float>() == tensor(numbers(5, 4), DType::f32).to_vector<float>());
  }
}
