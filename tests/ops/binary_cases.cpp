#include "ops/binary.hpp"

#include "ops/operators.hpp"
#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

namespace {

using Op = Variable (*)(const Variable&, const Variable&);

// How operand 0 or 1 is made.
using Make = InputSpec (*)(Shape, int operand);

InputSpec drawn(Shape shape, int) { return rand(shape); }
InputSpec divisor(Shape shape, int operand) { return operand == 0 ? rand(shape) : rand(shape, 0.5, 2.0); }
// Multiples of 1/8, for the second operand 1/16 further: either may be the larger one, and none are equal.
InputSpec staggered(Shape shape, int operand) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.numel(); ++i)
    values.push_back(static_cast<double>((i * (operand == 0 ? 5 : 11) + 3) % 16 - 8) / 8 + 0.0625 * operand);
  return fixed(shape, std::move(values));
}

void add_binary(const char* name, Op op, Make make) {
  struct Shapes {
    const char* name;
    Shape a, b;
  };
  const Shapes shapes[] = {
      {"same shape", {3, 7}, {3, 7}},
      {"scalars", {}, {}},
      {"one element each", {1, 1}, {1}},
      {"no rows", {0, 4}, {4}},
      {"no rows either", {0, 4}, {0, 4}},
      {"a row", {5, 3}, {3}},
      {"to a row", {3}, {5, 3}},
      {"a column", {5, 3}, {5, 1}},
      {"to a column", {5, 1}, {5, 3}},
      {"a scalar", {2, 3}, {}},
      {"to a scalar", {}, {2, 3}},
      {"row and column", {4, 1}, {1, 3}},
      {"middle axis", {2, 3, 4}, {2, 1, 4}},
      {"outer axis", {2, 3, 4}, {3, 1}},
      {"crosswise", {2, 1, 3, 1, 2}, {4, 1, 5, 1}},
      {"big", {300, 123}, {300, 123}},
      {"big with a row", {300, 123}, {123}},  // a sum in more than one piece, as the next two
      {"big with a column", {300, 123}, {300, 1}},
      {"big with a scalar", {300, 123}, {1}},
  };
  const auto run = [op](const Variables& x) { return op(x[0], x[1]); };
  for (const Shapes& s : shapes) {
    OpCase& c = add(name, s.name, {make(s.a, 0), make(s.b, 1)}, run);
    // of two numbers one is the larger, and the other has no slope
    c.zero_gradient = make == &staggered && (s.a.numel() == 1 || s.b.numel() == 1);
    // a sum of 36900 terms of either sign nearly cancels; its error is that of the terms
    if (s.a.numel() > 1000) c.tolerance.reference = 4.0;
  }
  // Every pair of these: five rows against five columns.
  const std::vector<double> special = {kInfinity, -kInfinity, kNan, 0.75, -1.5};
  OpCase& c = add(name, "infinities and NaN", {fixed({5, 1}, special), fixed({5}, special)}, run);
  c.nonfinite = true;
  add_extremes(name, {make({3, 7}, 0), make({3, 7}, 1)}, run);
  add(name, "huge and tiny", {rand({3, 7}, -1e30, 1e30), rand({7}, 1e-30, 2e-30)}, run).extreme = true;
  add(name, "tiny and huge", {rand({3, 7}, -1e-30, 1e-30), rand({7}, 1e30, 2e30)}, run).extreme = true;
  add_error(
      name, "sizes that do not fit", {rand({2, 3}), rand({2})}, run,
      fmt::format("[{}] expected sizes that are equal or 1, aligned at the last axis, got [2, 3] and [2]",
                  name));
  add_error(name, "integers", {integers({2}, 1, 3), integers({2}, 1, 3)}, run,
            fmt::format("[{}] expected a float tensor", name));
  add_error(name, "two dtypes", {rand({2}), integers({2}, 1, 3)}, run,
            fmt::format("[{}] operands differ", name));
}

}  // namespace

SMX_CASES(binary) {
  add_binary("add", &ops::add, &drawn);
  add_binary("sub", &ops::sub, &drawn);
  add_binary("mul", &ops::mul, &drawn);
  add_binary("div", &ops::div, &divisor);
  add_binary("maximum", &ops::maximum, &staggered);
  add_binary("minimum", &ops::minimum, &staggered);

  // (An error names the operator that meets an undefined operand first.)
  add("sub", "operators of tensors",
      {optional(rand({2, 3})), optional(rand({3}, 0.5, 2.0)), optional(rand({2, 1}))},
      [](const Variables& x) { return -(x[0] + x[1] * x[2]) / x[1] - x[2]; });
  add("sub", "operators with numbers", {optional(rand({2, 3}, 0.5, 2.0))}, [](const Variables& x) {
    return (2.0 - x[0]) / 3.0 * 0.5 + 1.5 / (x[0] + 0.25) - (0.75 * x[0] - (1.0 + x[0]));
  });
}

}  // namespace simsmoe::testing
