#include "ops/unary.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

namespace {

using Op = Variable (*)(const Variable&);

// One function over the shapes that every elementwise op must serve. `values` reach into its tails.
void add_unary(const char* name, Op op, const InputSpec& range, std::vector<double> values) {
  const auto run = [op](const Variables& x) { return op(x[0]); };
  const auto of = [&](Shape shape) {
    InputSpec spec = range;
    spec.shape = shape;
    return spec;
  };
  add(name, "3x7", {of({3, 7})}, run);
  add(name, "scalar", {fixed({}, {0.75})}, run);
  add(name, "one element", {fixed({1, 1}, {0.75})}, run);
  add(name, "no rows", {of({0, 5})}, run);
  add(name, "17001 elements", {of({17001})}, run);  // many lanes and a tail behind them
  const std::int64_t n = static_cast<std::int64_t>(values.size());
  add(name, "tails", {fixed({n}, std::move(values))}, run);
  add_error(name, "integers", {integers({2, 3}, 1, 5)}, run,
            fmt::format("[{}] expected a float tensor, got i32 [2, 3]", name));
}

}  // namespace

SMX_CASES(unary) {
  const InputSpec around_zero = rand({}, -3.0, 3.0), off_zero = rand_away_from({}, {0.0}, -3.0, 3.0);
  const InputSpec positive = rand({}, 0.25, 4.0);
  add_unary("relu", &ops::relu, off_zero, {-1e4, -0.0625, 0.0625, 1e4});
  add_unary("gelu", &ops::gelu, around_zero, {-30, -6, -4.5, 0, 4.5, 6, 30});
  add_unary("gelu_tanh", &ops::gelu_tanh, around_zero, {-30, -6, -4.5, 0, 4.5, 6, 30});
  add_unary("silu", &ops::silu, around_zero, {-1000, -90, -20, 0, 20, 90, 1000});
  add_unary("sigmoid", &ops::sigmoid, around_zero, {-1000, -90, -20, 0, 20, 90, 1000});
  add_unary("tanh", &ops::tanh, around_zero, {-1000, -8, -0.625, 0, 0.0009765625, 0.625, 8, 1000});
  add_unary("exp", &ops::exp, around_zero, {-80, -10, 0, 5, 10});
  add_unary("expm1", &ops::expm1, around_zero, {-80, -20, -0.0009765625, 0, 0.0009765625, 5, 10});
  add_unary("normal_cdf", &ops::normal_cdf, around_zero, {-30, -6, -4.5, 0, 4.5, 6, 30});
  add_unary("log", &ops::log, positive, {0.03125, 0.5, 1, 1000, 1e30});
  add_unary("sqrt", &ops::sqrt, positive, {0.03125, 0.5, 1, 1000, 1e30});
  add_unary("square", &ops::square, around_zero, {-100, 0, 100});
  add_unary("softplus", &ops::softplus, around_zero, {-1000, -90, -20, 0, 20, 90, 1000});
  add_unary("abs", &ops::abs, off_zero, {-1e4, -0.0625, 0.0625, 1e4});
  add_unary("neg", &ops::neg, around_zero, {-1e4, 0, 1e4});
  add_unary("scale", [](const Variable& x) { return ops::scale(x, -1.5, 0.25); }, around_zero,
            {-1e4, 0, 1e4});

  add("scale", "by zero", {rand({4})}, [](const Variables& x) {
    return ops::scale(x[0], 0.0, 2.0);
  }).zero_gradient = true;
  add("exp", "of itself", {rand({5})}, [](const Variables& x) { return ops::exp(ops::exp(x[0])); });

  for (const DType dtype : {DType::f64, DType::f32, DType::bf16})
    for (const Shape& shape : {Shape{3, 7}, Shape{0, 2}, Shape{17001}}) {
      // neg: a cast to the own dtype returns the variable itself, which is no op to ask about
      OpCase& c = add("cast", fmt::format("{} to {}", shape, name_of(dtype)), {rand(shape)},
                      [dtype](const Variables& x) { return ops::neg(ops::cast(x[0], dtype)); });
      // narrow numbers have no differences to speak of
      if (dtype != DType::f64) c.dtypes = {DType::f32, DType::bf16};
    }
  add_error(
      "cast", "to integers", {rand({2})}, [](const Variables& x) { return ops::cast(x[0], DType::i32); },
      "[cast] expected a float dtype, got i32");
}

}  // namespace simsmoe::testing
