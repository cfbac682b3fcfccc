#include "ops/reduce.hpp"

#include <algorithm>

#include "ops/softmax.hpp"
#include "tests/ops/values.hpp"

// Values of reductions along every choice of axes, against loops; extrema that tie; norms beyond the range of
// squares.

using namespace simsmoe;
using namespace simsmoe::testing;
using ops::Axes;

namespace {

const Shape kShape{2, 3, 4, 2};

// Values without order or pattern.
Doubles some_values() {
  Doubles values = counting(kShape);
  for (double& v : values) v = std::sin(v * v + 1.0);
  return values;
}

// f of the elements that fall on each element of the result, in the order of memory. `chosen` per axis.
Doubles by_loops(const Doubles& x, const std::vector<bool>& chosen, const std::function<double(Doubles)>& f) {
  std::vector<Doubles> groups;
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::size_t place = 0, rest = i, stride = 1;
    for (int axis = kShape.rank() - 1; axis >= 0; --axis) {
      const auto size = static_cast<std::size_t>(kShape[axis]);
      if (!chosen[static_cast<std::size_t>(axis)]) {
        place += rest % size * stride;
        stride *= size;
      }
      rest /= size;
    }
    if (place >= groups.size()) groups.resize(place + 1);
    groups[place].push_back(x[i]);
  }
  Doubles results;
  for (const Doubles& group : groups) results.push_back(f(group));
  return results;
}

double count_of(const Doubles& x) { return static_cast<double>(x.size()); }

double mean_of(const Doubles& x) {
  double sum = 0;
  for (const double v : x) sum += v;
  return sum / count_of(x);
}

double squares_of(const Doubles& x, double center) {
  double sum = 0;
  for (const double v : x) sum += (v - center) * (v - center);
  return sum;
}

double logsumexp_of(const Doubles& x) {
  double sum = 0;
  for (const double v : x) sum += std::exp(v);
  return std::log(sum);
}

void check_close(const Variable& y, const Doubles& expected) {
  const Doubles values = values_of(y);
  REQUIRE(values.size() == expected.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    CHECK(values[i] == doctest::Approx(expected[i]).epsilon(1e-13));
}

}  // namespace

TEST_CASE("reductions along every choice of axes are what loops give") {
  const Variable x = leaf(some_values(), kShape);
  for (unsigned subset = 1; subset < 16; ++subset) {
    std::vector<int> list;
    std::vector<bool> chosen;
    Shape kept;
    for (int axis = 0; axis < 4; ++axis) {
      chosen.push_back(((subset >> axis) & 1U) != 0);
      if (chosen.back())
        list.insert(list.begin(), axis % 2 == 0 ? axis : axis - 4);  // in any order, any sign
      kept = kept.append(chosen.back() ? 1 : kShape[axis]);
    }
    const Axes axes = subset == 15 ? Axes::all() : Axes(list);
    const auto loops = [&](const std::function<double(Doubles)>& f) {
      return by_loops(some_values(), chosen, f);
    };
    check_close(ops::sum(x, axes), loops([](const Doubles& v) { return mean_of(v) * count_of(v); }));
    check_close(ops::mean(x, axes), loops(mean_of));
    check_close(ops::max(x, axes), loops([](const Doubles& v) { return *std::ranges::max_element(v); }));
    check_close(ops::min(x, axes), loops([](const Doubles& v) { return *std::ranges::min_element(v); }));
    check_close(ops::l2_norm(x, axes), loops([](const Doubles& v) { return std::sqrt(squares_of(v, 0)); }));
    for (const double correction : {0.0, 1.0, 0.5})
      check_close(ops::var(x, axes, false, correction), loops([=](const Doubles& v) {
                    return squares_of(v, mean_of(v)) / (count_of(v) - correction);
                  }));
    check_close(ops::logsumexp(x, axes), loops(logsumexp_of));
    CHECK(ops::sum(x, axes, true).shape() == kept);
    CHECK(ops::max(x, axes, true).shape() == kept);
    CHECK(ops::logsumexp(x, axes, true).shape() == kept);
  }
}

TEST_CASE("softmax along any axes is exp(x - logsumexp)") {
  const Variable x = leaf(some_values(), kShape);
  for (const Axes& axes : {Axes(0), Axes(1), Axes(-1), Axes{0, 2}, Axes{3, 1}, Axes{2, 3}, Axes::all()}) {
    const Variable y = ops::softmax(x, axes), log_y = ops::log_softmax(x, axes);
    REQUIRE(y.shape() == kShape);
    const Variable lse = ops::logsumexp(x, axes, true);
    const auto place_in = [&](std::size_t i) {  // of element i of x in lse, by broadcasting
      std::int64_t place = 0, rest = static_cast<std::int64_t>(i);
      for (int axis = 3; axis >= 0; --axis) {
        if (lse.size(axis) != 1) place += rest % kShape[axis] * lse.shape().inner(axis);
        rest /= kShape[axis];
      }
      return static_cast<std::size_t>(place);
    };
    for (std::size_t i = 0; i < values_of(x).size(); ++i) {
      const double expected = values_of(x)[i] - values_of(lse)[place_in(i)];
      CHECK(values_of(log_y)[i] == doctest::Approx(expected).epsilon(1e-13));
      CHECK(values_of(y)[i] == doctest::Approx(std::exp(expected)).epsilon(1e-13));
    }
  }
}

TEST_CASE("extrema: the gradient goes to the first in the order of memory") {
  const Variable x = leaf({3, 7, 7, 1, 7, 1}, {2, 3});
  CHECK(gradient([&] { return ops::max(x); }, x) == Doubles{0, 1, 0, 0, 0, 0});
  CHECK(gradient([&] { return ops::min(x); }, x) == Doubles{0, 0, 0, 1, 0, 0});
  CHECK(gradient([&] { return ops::max(x, 0); }, x) == Doubles{1, 1, 1, 0, 0, 0});
  CHECK(gradient([&] { return ops::min(x, 1); }, x) == Doubles{1, 0, 0, 1, 0, 0});
  // The reduced axes are apart: [2, 1, 2] and [2, 3, 2] below hold each group in memory order.
  const Variable cube = leaf({5, 1, 2, 9, 5, 1, 9, 2}, {2, 2, 2});
  CHECK(gradient([&] { return ops::max(cube, {2, 0}); }, cube) == Doubles{1, 0, 0, 1, 0, 0, 0, 0});
  CHECK(gradient([&] { return ops::min(cube, {0, 2}); }, cube) == Doubles{0, 1, 1, 0, 0, 0, 0, 0});
  // Over several pieces of the axis.
  Doubles many(100000, 1.0);
  many[70000] = many[90000] = 2.0;
  const Variable large = leaf(many);
  const Doubles slope = gradient([&] { return ops::max(large); }, large);
  CHECK(slope[70000] == 1.0);
  CHECK(slope[90000] == 0.0);
}

TEST_CASE("extrema: the first NaN wins") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Variable x = leaf({1, kNaN, 3, kNaN}, {4}, dtype);
    for (const auto& f : {ops::max, ops::min}) {
      CHECK(std::isnan(f(x, Axes::all(), false).value().item()));
      CHECK(gradient([&] { return f(x, 0, false); }, x) == Doubles{0, 1, 0, 0});
    }
  }
  CHECK(ops::max(leaf({-kInf, -kInf})).value().item() == -kInf);
  CHECK(ops::min(leaf({kInf, 3})).value().item() == 3);
}

TEST_CASE("l2_norm: no gradient at 0, no overflow, no underflow") {
  const Variable zero = leaf({0, 0, -0.0});
  CHECK(ops::l2_norm(zero).value().item() == 0.0);
  CHECK(gradient([&] { return ops::l2_norm(zero); }, zero) == Doubles{0, 0, 0});
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64})
    for (const double unit : {1e30, 1e-30, 1e-38}) {
      const Variable x = leaf({3 * unit, -4 * unit, 0}, {3}, dtype);
      const double tolerance = dtype == DType::bf16 ? 1e-2 : 1e-6;
      CHECK(ops::l2_norm(x).value().item() == doctest::Approx(5 * unit).epsilon(tolerance));
      const Doubles slope = gradient([&] { return ops::l2_norm(x); }, x);
      CHECK(slope[0] == doctest::Approx(0.6).epsilon(tolerance));
      CHECK(slope[1] == doctest::Approx(-0.8).epsilon(tolerance));
      CHECK(slope[2] == 0.0);
    }
  CHECK(ops::l2_norm(leaf({3e200, 4e200})).value().item() == doctest::Approx(5e200));
  CHECK(ops::l2_norm(leaf({3e-200, 4e-200})).value().item() / 5e-200 == doctest::Approx(1.0));
  CHECK(ops::l2_norm(leaf({1, -kInf})).value().item() == kInf);
  CHECK(std::isnan(ops::l2_norm(leaf({kNaN, kInf})).value().item()));
  CHECK(std::isnan(ops::l2_norm(leaf({0, kNaN})).value().item()));
  CHECK(ops::l2_norm(leaf({}, {0})).value().item() == 0.0);
}

TEST_CASE("var is the estimate from a sample unless told otherwise") {
  const Variable x = leaf({1, 2, 6, 0, 0, 3}, {2, 3});  // squares of differences: 4 + 1 + 9 and 1 + 1 + 4
  CHECK(values_of(ops::var(x, 1)) == Doubles{7, 3});
  CHECK(values_of(ops::var(x, 1, true)) == Doubles{7, 3});
  CHECK(ops::var(x).value().item() == doctest::Approx(26.0 / 5));
  CHECK(ops::var(x, Axes::all(), false, 0.0).value().item() == doctest::Approx(26.0 / 6));
}

TEST_CASE("cumsum") {
  const Variable x = leaf({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(values_of(ops::cumsum(x, 1)) == Doubles{1, 3, 6, 4, 9, 15});
  CHECK(values_of(ops::cumsum(x, 0)) == Doubles{1, 2, 3, 5, 7, 9});
  CHECK(gradient([&] { return ops::cumsum(x, 1); }, x, {1, 10, 100, 2, 20, 200}) ==
        Doubles{111, 110, 100, 222, 220, 200});
  CHECK(same(values_of(ops::cumsum(leaf({1, kNaN, 2}), 0)), {1, kNaN, kNaN}));
}
