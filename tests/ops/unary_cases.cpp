#include "ops/unary.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

namespace {

using Op = std::function<Variable(const Variable&)>;

// One function over the shapes that every elementwise op must serve. `values` reach into its tails. A prefix
// tells apart what has parameters.
void add_unary(const std::string& name, const Op& op, const InputSpec& range, std::vector<double> values,
               const std::string& prefix = "") {
  const auto run = [op](const Variables& x) { return op(x[0]); };
  const auto of = [&](Shape shape) {
    InputSpec spec = range;
    spec.shape = shape;
    return spec;
  };
  add(name, prefix + "3x7", {of({3, 7})}, run);
  add(name, prefix + "scalar", {fixed({}, {0.75})}, run);
  add(name, prefix + "one element", {fixed({1, 1}, {0.75})}, run);
  add(name, prefix + "no rows", {of({0, 5})}, run);
  add(name, prefix + "17001 elements", {of({17001})}, run);  // many lanes and a tail behind them
  const std::int64_t n = static_cast<std::int64_t>(values.size());
  add(name, prefix + "tails", {fixed({n}, std::move(values))}, run);
  add(name, prefix + "infinities and NaN", {fixed({6}, {kInfinity, 0.75, kNan, 1.5, -kInfinity, 2.0})}, run)
      .nonfinite = true;
  add_extremes(name, {of({3, 7})}, run, prefix);
  add_error(name, prefix + "integers", {integers({2, 3}, 1, 5)}, run,
            fmt::format("[{}] expected a float tensor, got i32 [2, 3]", name));
}

void add_activations() {
  const InputSpec around_zero = rand({}, -3.0, 3.0), off_zero = rand_away_from({}, {0.0}, -3.0, 3.0);
  add_unary("relu", ops::relu, off_zero, {-1e4, -0.0625, 0.0625, 1e4});
  add_unary("gelu", ops::gelu, around_zero, {-30, -6, -4.5, 0, 4.5, 6, 30});
  add_unary("gelu_tanh", ops::gelu_tanh, around_zero, {-30, -6, -4.5, 0, 4.5, 6, 30});
  add_unary("silu", ops::silu, around_zero, {-1000, -90, -20, 0, 20, 90, 1000});
  add_unary("sigmoid", ops::sigmoid, around_zero, {-1000, -90, -20, 0, 20, 90, 1000});
  add_unary("tanh", ops::tanh, around_zero, {-1000, -8, -0.625, 0, 0.0009765625, 0.625, 8, 1000});
  add_unary("normal_cdf", ops::normal_cdf, around_zero, {-30, -6, -4.5, 0, 4.5, 6, 30});
  add_unary("softplus", ops::softplus, around_zero, {-1000, -90, -20, 0, 20, 90, 1000});
}

void add_elementary() {
  const InputSpec around_zero = rand({}, -3.0, 3.0), off_zero = rand_away_from({}, {0.0}, -3.0, 3.0);
  const InputSpec positive = rand({}, 0.25, 4.0);
  const std::vector<double> large = {-1e4, 0, 1e4}, around = {-1e4, -0.0625, 0.0625, 1e4};
  const std::vector<double> magnitudes = {0.03125, 0.5, 1, 1000, 1e30};
  const std::vector<double> turns = {-1000, -3.140625, -1.5703125, 0, 1.5703125, 3.140625, 1000};
  add_unary("exp", ops::exp, around_zero, {-80, -10, 0, 5, 10});
  add_unary("expm1", ops::expm1, around_zero, {-80, -20, -0.0009765625, 0, 0.0009765625, 5, 10});
  add_unary("log", ops::log, positive, magnitudes);
  add_unary("sqrt", ops::sqrt, positive, magnitudes);
  add_unary("rsqrt", ops::rsqrt, positive, magnitudes);
  add_unary("square", ops::square, around_zero, {-100, 0, 100});
  add_unary("sin", ops::sin, around_zero, turns);
  add_unary("cos", ops::cos, around_zero, turns);
  add_unary("abs", ops::abs, off_zero, around);
  add_unary("neg", ops::neg, around_zero, large);
  add_unary(
      "scale", [](const Variable& x) { return ops::scale(x, -1.5, 0.25); }, around_zero, large);
  add_unary("clamp", [](const Variable& x) { return ops::clamp(x, -1.0, 1.25); },
            rand_away_from({}, {-1.0, 1.25}, -3.0, 3.0), {-1e4, -1.0625, -0.9375, 0, 1.1875, 1.3125, 1e4});

  const auto power = [](double p) { return [p](const Variable& x) { return ops::pow(x, p); }; };
  add_unary("pow", power(2.0), around_zero, {-100, 0, 100}, "x^2 ");
  add_unary("pow", power(3.0), around_zero, {-100, 0, 100}, "x^3 ");
  add_unary("pow", power(1.0), around_zero, large, "x^1 ");
  add_unary("pow", power(0.75), positive, {0.03125, 0.5, 1, 1000}, "x^0.75 ");
  add_unary("pow", power(-2.0), off_zero, {-100, -0.25, 0.25, 100}, "x^-2 ");
  add_unary("pow", power(-0.5), positive, {0.03125, 0.5, 1, 1000}, "x^-0.5 ");

  // Constant where they have a slope: no gradient but zeros.
  const auto signs = [](const Variables& x) { return ops::sign(x[0]); };
  const auto ones = [](const Variables& x) { return ops::pow(x[0], 0.0); };
  const auto bounded = [](const Variables& x) { return ops::clamp(x[0], 0.25, 0.25); };
  const InputSpec numbers = rand_away_from({4, 5}, {0.0, 0.25}, -3.0, 3.0);
  add("sign", "4x5", {numbers}, signs).zero_gradient = true;
  add("sign", "no rows", {rand({0, 5})}, signs);
  add("sign", "infinities and NaN", {fixed({5}, {kInfinity, 0.5, kNan, -kInfinity, -2.0})}, signs).nonfinite =
      true;
  add_extremes("sign", {numbers}, signs);
  add_error("sign", "integers", {integers({2}, 0, 5)}, signs, "[sign] expected a float tensor");
  add("pow", "x^0", {numbers}, ones).zero_gradient = true;
  add("clamp", "to one number", {numbers}, bounded).zero_gradient = true;
  add("scale", "by zero", {rand({4})}, [](const Variables& x) {
    return ops::scale(x[0], 0.0, 2.0);
  }).zero_gradient = true;

  add("exp", "of itself", {rand({5})}, [](const Variables& x) { return ops::exp(ops::exp(x[0])); });
  add("clamp", "below only", {numbers}, [](const Variables& x) { return ops::clamp(x[0], 0.0, kInfinity); });
  add("clamp", "above only", {numbers}, [](const Variables& x) { return ops::clamp(x[0], -kInfinity, 0.0); });
  add_error(
      "clamp", "bounds exchanged", {rand({2})}, [](const Variables& x) { return ops::clamp(x[0], 1.0, 0.0); },
      "[clamp] expected low <= high, got 1 and 0");
  add_error(
      "clamp", "a bound that is NaN", {rand({2})},
      [](const Variables& x) { return ops::clamp(x[0], kNan, 0.0); }, "[clamp] expected low <= high");
}

// Arithmetic with a number; the ops of two tensors have the same names.
void add_with_numbers() {
  const InputSpec around_zero = rand({}, -3.0, 3.0), off_zero = rand_away_from({}, {0.0}, -3.0, 3.0);
  const InputSpec off_half = rand_away_from({}, {0.5}, -3.0, 3.0);
  const std::vector<double> large = {-1e4, 0, 1e4}, around = {-1e4, -0.0625, 0.0625, 1e4};
  const auto number = [](auto op) { return [op](const Variable& x) { return op(x, 0.3); }; };
  const auto first = [](auto op) { return [op](const Variable& x) { return op(0.3, x); }; };
  using After = Variable (*)(const Variable&, double);
  using Before = Variable (*)(double, const Variable&);
  add_unary("add", number(After{ops::add}), around_zero, large, "x + 0.3 ");
  add_unary("sub", number(After{ops::sub}), around_zero, large, "x - 0.3 ");
  add_unary("sub", first(Before{ops::sub}), around_zero, large, "0.3 - x ");
  add_unary("mul", number(After{ops::mul}), around_zero, large, "x * 0.3 ");
  add_unary("div", number(After{ops::div}), around_zero, large, "x / 0.3 ");
  add_unary("div", first(Before{ops::div}), off_zero, around, "0.3 / x ");
  add_unary(
      "maximum", [](const Variable& x) { return ops::maximum(x, 0.5); }, off_half, around, "x or 0.5 ");
  add_unary(
      "minimum", [](const Variable& x) { return ops::minimum(x, 1.0); }, rand_away_from({}, {1.0}, -3.0, 3.0),
      around, "x or 1 ");
}

void add_cast() {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    // neg: a cast to the own dtype returns the variable itself, which is no op to ask about
    const auto run = [dtype](const Variables& x) { return ops::neg(ops::cast(x[0], dtype)); };
    for (const Shape& shape : {Shape{3, 7}, Shape{0, 2}, Shape{17001}}) {
      OpCase& c = add("cast", fmt::format("{} to {}", shape, name_of(dtype)), {rand(shape)}, run);
      // narrow numbers have no differences to speak of
      if (dtype != DType::f64) c.dtypes = {DType::f32, DType::bf16};
    }
  }
  const auto narrow = [](const Variables& x) { return ops::neg(ops::cast(x[0], DType::bf16)); };
  OpCase& c = add("cast", "infinities and NaN", {fixed({4}, {kInfinity, -kInfinity, kNan, 1.0})}, narrow);
  c.nonfinite = true;
  c.dtypes = {DType::f32, DType::bf16};
  add_extremes("cast", {rand({3, 7})}, narrow);
  add_error(
      "cast", "to integers", {rand({2})}, [](const Variables& x) { return ops::cast(x[0], DType::i32); },
      "[cast] expected a float dtype, got i32");
}

}  // namespace

SMX_CASES(unary) {
  add_activations();
  add_elementary();
  add_with_numbers();
  add_cast();
}

}  // namespace simsmoe::testing
