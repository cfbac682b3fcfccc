#include <cmath>

#include "ops/binary.hpp"
#include "ops/compare.hpp"
#include "ops/operators.hpp"
#include "ops/unary.hpp"
#include "tests/ops/values.hpp"

// What differences cannot see: ties, bounds, NaN, and that values are the ones that were asked for.

using namespace simsmoe;
using namespace simsmoe::testing;

TEST_CASE("maximum and minimum: the larger, the smaller, half of the slope in a tie") {
  const Variable a = leaf({1, 5, 3, -2}), b = leaf({4, 2, 3, -2});
  const auto larger = [&] { return ops::maximum(a, b); };
  const auto smaller = [&] { return ops::minimum(a, b); };
  CHECK(values_of(larger()) == Doubles{4, 5, 3, -2});
  CHECK(values_of(smaller()) == Doubles{1, 2, 3, -2});
  CHECK(gradient(larger, a, {1, 2, 4, 8}) == Doubles{0, 2, 2, 4});
  CHECK(gradient(larger, b, {1, 2, 4, 8}) == Doubles{1, 0, 2, 4});
  CHECK(gradient(smaller, a, {1, 2, 4, 8}) == Doubles{1, 0, 2, 4});
  CHECK(gradient(smaller, b, {1, 2, 4, 8}) == Doubles{0, 2, 2, 4});
}

TEST_CASE("maximum and minimum: NaN of either operand comes out") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Variable a = leaf({kNaN, 1, kNaN, kInf}, {4}, dtype), b = leaf({1, kNaN, kNaN, 2}, {4}, dtype);
    CHECK(same(values_of(ops::maximum(a, b)), {kNaN, kNaN, kNaN, kInf}));
    CHECK(same(values_of(ops::minimum(a, b)), {kNaN, kNaN, kNaN, 2}));
    CHECK(same(values_of(ops::maximum(a, 3.0)), {kNaN, 3, kNaN, kInf}));
    CHECK(same(values_of(ops::minimum(a, 3.0)), {kNaN, 1, kNaN, 3}));
    CHECK(same(values_of(ops::maximum(b, kNaN)), {kNaN, kNaN, kNaN, kNaN}));
    CHECK(same(values_of(ops::minimum(b, kNaN)), {kNaN, kNaN, kNaN, kNaN}));
  }
}

TEST_CASE("maximum and minimum with a number") {
  const Variable x = leaf({-1, 0.5, 2});
  CHECK(values_of(ops::maximum(x, 0.5)) == Doubles{0.5, 0.5, 2});
  CHECK(values_of(ops::minimum(x, 0.5)) == Doubles{-1, 0.5, 0.5});
  CHECK(gradient([&] { return ops::maximum(x, 0.5); }, x) == Doubles{0, 0.5, 1});
  CHECK(gradient([&] { return ops::minimum(x, 0.5); }, x) == Doubles{1, 0.5, 0});
}

TEST_CASE("the slope of a quotient in b keeps its digits, and its signs at 0") {
  const Variable a = leaf({6, 1e30, 1, -1, 0}, {5}, DType::f32);
  const Variable b = leaf({2, 1e30, 0, 0, 0}, {5}, DType::f32);
  const Doubles slope = gradient([&] { return ops::div(a, b); }, b);
  CHECK(slope[0] == -1.5);
  CHECK(slope[1] == doctest::Approx(-1e-30));
  CHECK(same({slope.begin() + 2, slope.end()}, {-kInf, kInf, kNaN}));
}

TEST_CASE("slopes stay finite where a square leaves the range of f32") {
  const Variable a = leaf({0, 1e-30, 1e30, 1e-38}, {4}, DType::f32);
  const Variable b = leaf({1e-25, 1e-25, 1e20, 1e-38}, {4}, DType::f32);
  const Doubles slope = gradient([&] { return ops::div(a, b); }, b), right{0, -1e20, -1e-10, -1e38};
  for (std::size_t i = 0; i < slope.size(); ++i) CHECK(slope[i] == doctest::Approx(right[i]).epsilon(1e-6));
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Variable x = leaf({6e19, -6e19, 3e38, -3e38}, {4}, dtype);
    CHECK(same(gradient([&] { return ops::gelu_tanh(x); }, x), {1, 0, 1, 0}));
    CHECK(same(gradient([&] { return ops::gelu(x); }, x), {1, 0, 1, 0}));
    CHECK(same(gradient([&] { return ops::silu(x); }, x), {1, 0, 1, 0}));
    CHECK(same(values_of(ops::gelu_tanh(x)), {values_of(x)[0], 0, values_of(x)[2], 0}));
  }
}

TEST_CASE("clamp: between its bounds, slope 1 up to them, NaN stays") {
  const Variable x = leaf({-3, -1, 0, 2, 3, kNaN, kInf, -kInf});
  const auto clamped = [&] { return ops::clamp(x, -1.0, 2.0); };
  CHECK(same(values_of(clamped()), {-1, -1, 0, 2, 2, kNaN, 2, -1}));
  CHECK(gradient(clamped, x) == Doubles{0, 1, 1, 1, 0, 0, 0, 0});
  CHECK(same(values_of(ops::clamp(x, -kInf, kInf)), values_of(x)));
}

TEST_CASE("pow: values and slopes at 0 and of negative numbers") {
  const auto slope_at = [](double at, double p) {
    const Variable x = leaf({at});
    return gradient([&] { return ops::pow(x, p); }, x).front();
  };
  CHECK(values_of(ops::pow(leaf({-2, 0, 3}), 3.0)) == Doubles{-8, 0, 27});
  CHECK(values_of(ops::pow(leaf({-2, 0, 3}), 2.0)) == Doubles{4, 0, 9});
  CHECK(values_of(ops::pow(leaf({-2, 0, 4}), 0.0)) == Doubles{1, 1, 1});
  CHECK(same(values_of(ops::pow(leaf({-2, 0, 4}), 0.5)), {kNaN, 0, 2}));
  CHECK(same(values_of(ops::pow(leaf({-2, 0, 4}), -1.0)), {-0.5, kInf, 0.25}));
  CHECK(slope_at(0, 3.0) == 0);
  CHECK(slope_at(0, 2.0) == 0);
  CHECK(slope_at(0, 1.5) == 0);
  CHECK(slope_at(0, 1.0) == 1);
  CHECK(slope_at(0, 0.5) == kInf);
  CHECK(slope_at(0, 0.0) == 0);
  CHECK(slope_at(0, -1.0) == -kInf);
  CHECK(slope_at(-2, 3.0) == 12);
  CHECK(std::isnan(slope_at(-2, 2.5)));
  // Through f64: x^p in f32 alone is off by 20 units in the last place.
  CHECK(values_of(ops::pow(leaf({1e10}, {1}, DType::f32), 3.3)).front() ==
        static_cast<double>(static_cast<float>(std::pow(1e10, 3.3))));
}

TEST_CASE("sign, rsqrt, sin, cos: special values") {
  const Variable x = leaf({-2, -0.0, 0.0, 3, kNaN, kInf});
  const Doubles signs = values_of(ops::sign(x));
  CHECK(same(signs, {-1, 0, 0, 1, kNaN, 1}));
  CHECK(std::signbit(signs[1]));
  CHECK(gradient([&] { return ops::sign(x); }, x) == Doubles{0, 0, 0, 0, 0, 0});
  CHECK(same(values_of(ops::rsqrt(leaf({4, 0, -1, kInf}))), {0.5, kInf, kNaN, 0}));
  CHECK(values_of(ops::sin(leaf({0, 1}))) == Doubles{0, std::sin(1.0)});
  CHECK(values_of(ops::cos(leaf({0, 1}))) == Doubles{1, std::cos(1.0)});
}

TEST_CASE("operators and numbers") {
  const Variable a = leaf({1, 2, 3, 4}, {2, 2}), b = leaf({10, 20});
  CHECK(values_of(a + b) == Doubles{11, 22, 13, 24});
  CHECK(values_of(a - b) == Doubles{-9, -18, -7, -16});
  CHECK(values_of(a * b) == Doubles{10, 40, 30, 80});
  CHECK(values_of(b / a) == Doubles{10, 10, 10 / 3.0, 5});
  CHECK(values_of(-b) == Doubles{-10, -20});
  CHECK(values_of(b + 1.5) == Doubles{11.5, 21.5});
  CHECK(values_of(1.5 + b) == Doubles{11.5, 21.5});
  CHECK(values_of(b - 1.5) == Doubles{8.5, 18.5});
  CHECK(values_of(1.5 - b) == Doubles{-8.5, -18.5});
  CHECK(values_of(b * 0.5) == Doubles{5, 10});
  CHECK(values_of(0.5 * b) == Doubles{5, 10});
  CHECK(values_of(b / 3.0) == Doubles{10 / 3.0, 20 / 3.0});
  CHECK(values_of(5.0 / b) == Doubles{0.5, 0.25});
  CHECK(values_of(b + 1) == Doubles{11, 21});  // whole numbers are numbers
  // A number is not rounded to the dtype before it is used.
  CHECK(values_of(leaf({1}, {1}, DType::bf16) * 3.01).front() == 3.015625);
}

TEST_CASE("comparisons: every dtype, broadcasting, NaN") {
  const Tensor a = tensor({1, 2, 3}), b = tensor({2, 2, 2});
  CHECK(ops::less(a, b).to_vector<std::uint8_t>() == Bytes{1, 0, 0});
  CHECK(ops::less_equal(a, b).to_vector<std::uint8_t>() == Bytes{1, 1, 0});
  CHECK(ops::greater(a, b).to_vector<std::uint8_t>() == Bytes{0, 0, 1});
  CHECK(ops::greater_equal(a, b).to_vector<std::uint8_t>() == Bytes{0, 1, 1});
  CHECK(ops::equal(a, b).to_vector<std::uint8_t>() == Bytes{0, 1, 0});
  CHECK(ops::not_equal(a, b).to_vector<std::uint8_t>() == Bytes{1, 0, 1});
  CHECK(ops::less(a, b).dtype() == DType::u8);

  const Tensor number = tensor({kNaN}), zero = tensor({0.0, -0.0});
  for (const auto& compare : {ops::less, ops::less_equal, ops::greater, ops::greater_equal, ops::equal})
    for (const Tensor& other : {number, a})
      CHECK(compare(number, other).to_vector<double>() == Doubles(other.numel() == 1 ? 1 : 3, 0.0));
  CHECK(ops::not_equal(number, number).item() == 1.0);
  CHECK(ops::equal(zero, tensor({0.0})).to_vector<std::uint8_t>() == Bytes{1, 1});

  // Beyond 2^53, where f64 no longer tells whole numbers apart.
  const std::int64_t large = std::int64_t{1} << 60;
  CHECK(ops::less(longs({large}, {1}), longs({large + 1}, {1})).item() == 1.0);
  for (const DType dtype : {DType::f32, DType::bf16, DType::i32, DType::i64, DType::u8}) {
    const Tensor column = tensor({1, 2}, {2, 1}).to(dtype), row = tensor({1, 2, 3}).to(dtype);
    const Tensor mask = ops::less(column, row);
    CHECK(mask.shape() == Shape{2, 3});
    CHECK(mask.to_vector<std::uint8_t>() == Bytes{0, 1, 1, 0, 0, 1});
    CHECK(ops::greater_equal(row, Tensor::full({}, 2.0, dtype)).to_vector<std::uint8_t>() == Bytes{0, 1, 1});
  }
  CHECK(ops::equal(Tensor::zeros({0, 3}, DType::f32), Tensor::zeros({3}, DType::f32)).shape() == Shape{0, 3});
}

TEST_CASE("comparisons explain misuse") {
  using doctest::Contains;
  const Tensor x = tensor({1, 2, 3});
  CHECK_THROWS_WITH_AS(ops::less(x, x.to(DType::f32)),
                       Contains("[less] operands differ: f64 [3] and f32 [3]"), Error);
  CHECK_THROWS_WITH_AS(ops::less_equal(x, {}), Contains("[less_equal] expected a tensor"), Error);
  CHECK_THROWS_WITH_AS(ops::greater({}, x), Contains("[greater] expected a tensor"), Error);
  CHECK_THROWS_WITH_AS(ops::equal(x, tensor({1, 2})), Contains("[equal] expected sizes that are equal or 1"),
                       Error);
}

TEST_CASE("where chooses, and what was not chosen sees nothing, not even NaN") {
  const Tensor mask = Tensor::from(Bytes{1, 0, 0, 1}, {4});
  const Variable a = leaf({1, 2, 3, 4}), b = leaf({10}, {1});
  const auto chosen = [&] { return ops::where(mask, a, b); };
  CHECK(values_of(chosen()) == Doubles{1, 10, 10, 4});
  CHECK(gradient(chosen, a, {kInf, kNaN, 1, 2}) == Doubles{kInf, 0, 0, 2});
  CHECK(gradient(chosen, b, {kNaN, 3, 4, kInf}) == Doubles{7});
  const Tensor column = Tensor::from(Bytes{1, 0}, {2, 1});
  CHECK(values_of(ops::where(column, a, b)) == Doubles{1, 2, 3, 4, 10, 10, 10, 10});
}

TEST_CASE("tails keep their digits where an exponential below them is denormal in f32") {
  const Doubles at{-88, -90, -95, -100};
  const Variable x = leaf(at, {4}, DType::f32);
  const Doubles exp = values_of(ops::exp(x)), sigmoid = values_of(ops::sigmoid(x)),
                softplus = values_of(ops::softplus(x)), silu = values_of(ops::silu(x)),
                slope = gradient([&] { return ops::silu(x); }, x);
  for (std::size_t i = 0; i < at.size(); ++i) {
    const double e = std::exp(at[i]), unit = 0x1p-149;
    for (const double value : {exp[i], sigmoid[i], softplus[i]}) CHECK(std::abs(value - e) <= unit);
    CHECK(std::abs(silu[i] - at[i] * e) <= -at[i] * unit);
    CHECK(std::abs(slope[i] - (1 + at[i]) * e) <= -at[i] * unit);
  }
}
