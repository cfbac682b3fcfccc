#include "ops/reduce.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

namespace {

using ops::Axes;
using Reduction = std::function<Variable(const Variable&, const Axes&, bool)>;

// A sum of terms of either sign nearly cancels; its rounding is that of the terms.
void loosen(OpCase& c) { c.tolerance.reference = 8.0; }

InputSpec uniform(Shape shape) { return rand(shape); }

// Every element another multiple of 1/32, in an order that jumps: an extremum that no difference moves.
InputSpec jumping(Shape shape) {
  const std::int64_t n = shape.numel();
  SMX_CHECK(n == 0 || (n < 512 && n % 7 != 0), "[jumping] 7 must not divide the size, below 512: {}", shape);
  std::vector<double> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(static_cast<double>(i * 7 % n - n / 2) / 16);
  return fixed(shape, std::move(values));
}

// One reduction over all, one and several axes.
void add_reduction(const std::string& name, const Reduction& op, InputSpec (*make)(Shape)) {
  const auto along = [op](Axes axes, bool keep = false) {
    return [=](const Variables& x) { return op(x[0], axes, keep); };
  };
  const Shape cube{3, 4, 5};
  for (const int axis : {0, 1, 2, -1})
    for (const bool keep : {false, true})
      loosen(add(name, fmt::format("3x4x5 axis {}{}", axis, keep ? " kept" : ""), {make(cube)},
                 along(axis, keep)));
  loosen(add(name, "neighbours", {make({2, 3, 4, 2})}, along({1, 2})));
  loosen(add(name, "the first two", {make({2, 3, 4, 2})}, along({1, 0})));
  loosen(add(name, "apart", {make({2, 3, 4, 2})}, along({0, -2})));
  loosen(add(name, "apart, kept", {make({2, 3, 4, 2})}, along({2, 0}, true)));
  loosen(add(name, "named all", {make({2, 5})}, along({0, 1})));
  loosen(add(name, "all", {make(cube)}, along(Axes::all())));
  loosen(add(name, "all, kept", {make(cube)}, along(Axes::all(), true)));
  add(name, "no rows", {make({0, 4})}, along(1));
  add(name, "no rows, two axes", {make({2, 0, 4})}, along({0, 2}));
  // More than one thread's share. Among so many numbers some are equal: extrema have no differences here.
  const auto add_long = [&](const char* what, Shape shape, Axes axes) {
    OpCase& c = add(name, what, {rand(shape)}, along(axes));
    if (make != &uniform) c.dtypes = {DType::f32, DType::bf16};
    loosen(c);
  };
  add_long("long rows", {131, 255}, 1);
  add_long("long columns", {255, 131}, 0);
  add_long("long middle", {2, 255, 67}, 1);
  add_long("40000 elements", {40000}, Axes::all());
  // A row of finite numbers beside rows with an infinity, with both, and with NaN.
  add(name, "infinities and NaN",
      {fixed({4, 3}, {0.5, -0.25, 1.0, kInfinity, 0.5, -0.25, -kInfinity, 0.5, kInfinity, 0.25, kNan, 0.5})},
      along(1))
      .nonfinite = true;
  add_extremes(name, {make(cube)}, along({0, 2}));
  add_error(name, "no such axis", {rand({2, 3})}, along(2), "[2, 3], got axis 2");
  add_error(name, "no such axis, negative", {rand({2, 3})}, along({0, -3}), "[2, 3], got axis -3");
  add_error(name, "an axis twice", {rand({2, 3})}, along({1, -1}),
            fmt::format("[{}] expected every axis once, got 1 twice", name));
  add_error(name, "no axes", {rand({2, 3})}, along(std::vector<int>{}),
            fmt::format("[{}] expected at least one axis", name));
  add_error(name, "integers", {integers({2, 3}, 0, 5)}, along(Axes::all()),
            fmt::format("[{}] expected a float tensor", name));
}

void add_sums() {
  const auto all = [](auto op) { return [op](const Variables& x) { return op(x[0], Axes::all(), false); }; };
  for (const auto& [name, op] : {std::pair<const char*, Reduction>{"sum", ops::sum}, {"mean", ops::mean}}) {
    add_reduction(name, op, &uniform);
    add(name, "scalar", {rand({})}, all(op));
    add(name, "one element", {rand({1, 1})}, all(op));
    add(name, "no columns", {rand({4, 0})}, [op = op](const Variables& x) { return op(x[0], 0, false); });
  }
  add("sum", "nothing", {rand({0, 3})}, all(ops::sum));
  add("sum", "along nothing", {rand({3, 0})}, [](const Variables& x) { return ops::sum(x[0], 1); });
  add_error("mean", "nothing", {rand({0, 3})}, all(ops::mean), "[mean] expected at least one element");
  add_error(
      "mean", "along nothing", {rand({3, 0})}, [](const Variables& x) { return ops::mean(x[0], 1); },
      "[mean] expected at least one element");
}

void add_extrema() {
  // The differences move one element by 0.002 at most; distinct elements keep their order.
  for (const auto& [name, op] : {std::pair<const char*, Reduction>{"max", ops::max}, {"min", ops::min}}) {
    const Reduction function = op;
    const auto along = [function](Axes axes) {
      return [=](const Variables& x) { return function(x[0], axes, false); };
    };
    add_reduction(name, op, &jumping);
    add(name, "scalar", {rand({})}, along(Axes::all()));
    add(name, "rows", {distinct({5, 7})}, along(-1));
    add(name, "n=1", {rand({3, 1})}, along(1));
    add(name, "many rows", {distinct({131, 255})}, along(1));
    // Equal elements: the first one is chosen. No differences there, but every dtype must agree with f64.
    const InputSpec ties = fixed({2, 4}, {1, 3, 3, 1, 5, 5, 5, 5});
    add(name, "ties", {ties}, along(1)).dtypes = {DType::f32, DType::bf16};
    add(name, "ties over all", {ties}, along(Axes::all())).dtypes = {DType::f32, DType::bf16};
    add_error(name, "along nothing", {rand({3, 0})}, along(1),
              fmt::format("[{}] expected at least one element", name));
    add_error(name, "nothing", {rand({0, 3})}, along(Axes::all()),
              fmt::format("[{}] expected at least one element", name));
  }
}

void add_var() {
  const auto with = [](double correction) {
    return [=](const Variables& x) { return ops::var(x[0], 1, false, correction); };
  };
  add_reduction(
      "var", [](const Variable& x, const Axes& axes, bool keep) { return ops::var(x, axes, keep); },
      &uniform);
  add("var", "of a population", {rand({3, 4})}, with(0.0));
  add("var", "correction 2.5", {rand({3, 4})}, with(2.5));
  add("var", "two elements", {rand({3, 2})}, with(1.0));
  add("var", "one of a population", {rand({3, 1})}, with(0.0)).zero_gradient = true;
  // From the differences: E[x^2] - mean^2 has no digit left in f32.
  add("var", "large mean", {rand({3, 8}, 4096.0, 4352.0)}, with(1.0));
  add_error("var", "one element", {rand({3, 1})}, with(1.0), "[var] expected more than 1 elements");
  add_error("var", "nothing", {rand({3, 0})}, with(0.0), "[var] expected more than 0 elements");
}

void add_l2_norm() {
  const auto norm = [](const Variables& x) { return ops::l2_norm(x[0], 1); };
  add_reduction("l2_norm", ops::l2_norm, &uniform);
  // Not differentiable at 0, where the gradient is 0; the second row is of another kind.
  OpCase& zeros = add("l2_norm", "a row of zeros", {fixed({2, 3}, {0, 0, 0, 3, 0, 4})}, norm);
  zeros.dtypes = {DType::f32, DType::bf16};
  add("l2_norm", "no columns", {rand({3, 0})}, norm);
  // The square of the largest overflows f32, and that of the others is nothing beside it; and the reverse.
  add("l2_norm", "mixed magnitudes", {fixed({2, 3}, {3e30, 1.0, -4e30, 3e-30, 4e-30, 0})}, norm).extreme =
      true;
}

void add_cumsum() {
  const auto along = [](int axis) { return [=](const Variables& x) { return ops::cumsum(x[0], axis); }; };
  for (const int axis : {0, 1, 2, -1})
    add("cumsum", fmt::format("3x4x5 axis {}", axis), {rand({3, 4, 5})}, along(axis));
  add("cumsum", "one element", {rand({1})}, along(0));
  add("cumsum", "no rows", {rand({0, 4})}, along(1));
  add("cumsum", "nothing to add", {rand({4, 0})}, along(1));
  loosen(add("cumsum", "long rows", {rand({131, 255})}, along(1)));
  loosen(add("cumsum", "long columns", {rand({255, 131})}, along(0)));
  add("cumsum", "infinities and NaN",
      {fixed({3, 4}, {0.5, kInfinity, 1, 2, 0.25, kNan, 1, 2, kInfinity, 1, -kInfinity, 1})}, along(1))
      .nonfinite = true;
  add_extremes("cumsum", {rand({3, 5})}, along(0));
  add_error("cumsum", "no such axis", {rand({2, 3})}, along(2), "[2, 3], got axis 2");
  add_error("cumsum", "scalar", {rand({})}, along(0), "[cumsum] expected an axis of");
  add_error("cumsum", "integers", {integers({2, 3}, 0, 5)}, along(0), "[cumsum] expected a float tensor");
}

}  // namespace

SMX_CASES(reduce) {
  add_sums();
  add_extrema();
  add_var();
  add_l2_norm();
  add_cumsum();
}

}  // namespace simsmoe::testing
