#include "ops/binary.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

SMX_CASES(binary) {
  using Op = Variable (*)(const Variable&, const Variable&);
  struct Named {
    const char* name;
    Op op;
    double low, high;  // of the second operand: a divisor stays away from 0
  };
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
  for (const Named& named : {Named{"add", &ops::add, -1, 1}, Named{"sub", &ops::sub, -1, 1},
                             Named{"mul", &ops::mul, -1, 1}, Named{"div", &ops::div, 0.5, 2}}) {
    const Op op = named.op;
    const auto run = [op](const Variables& x) { return op(x[0], x[1]); };
    for (const Shapes& s : shapes) {
      OpCase& c = add(named.name, s.name, {rand(s.a), rand(s.b, named.low, named.high)}, run);
      // a sum of 36900 terms of either sign nearly cancels; its error is that of the terms
      if (s.a.numel() > 1000) c.tolerance.reference = 4.0;
    }
    add_error(
        named.name, "sizes that do not fit", {rand({2, 3}), rand({2})}, run,
        fmt::format("[{}] expected sizes that are equal or 1, aligned at the last axis, got [2, 3] and [2]",
                    named.name));
    add_error(named.name, "integers", {integers({2}, 1, 3), integers({2}, 1, 3)}, run,
              fmt::format("[{}] expected a float tensor", named.name));
    add_error(named.name, "two dtypes", {rand({2}), integers({2}, 1, 3)}, run,
              fmt::format("[{}] operands differ", named.name));
  }
}

}  // namespace simsmoe::testing
