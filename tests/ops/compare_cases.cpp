#include "ops/compare.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

SMX_CASES(compare) {
  const auto where = [](const Variables& x) { return ops::where(x[2].value(), x[0], x[1]); };
  struct Shapes {
    const char* name;
    Shape a, b, mask;
  };
  const Shapes shapes[] = {
      {"same shape", {3, 7}, {3, 7}, {3, 7}},
      {"scalars", {}, {}, {}},
      {"no rows", {0, 4}, {4}, {0, 1}},
      {"a row and a column", {4}, {3, 1}, {3, 4}},
      {"a mask of rows", {3, 4}, {3, 4}, {3, 1}},
      {"a mask for all", {3, 4}, {4}, {}},
      {"a wide mask", {4}, {4}, {3, 4}},
      {"a wide mask of numbers", {}, {1}, {2, 3}},
      {"three of different rank", {2, 1, 4}, {3, 1}, {2, 1, 1, 4}},
      {"many", {140, 257}, {257}, {140, 1}},
      {"many of one number", {1}, {140, 257}, {140, 257}},
  };
  for (const Shapes& s : shapes) {
    OpCase& c = add("where", s.name, {rand(s.a), rand(s.b), mask(s.mask)}, where);
    // Where the mask is drawn for few elements it may choose one operand only.
    c.zero_gradient = s.mask.numel() < 12;
    // a sum of 36000 terms of either sign nearly cancels; its error is that of the terms
    if (s.a.numel() > 1000 || s.b.numel() > 1000) c.tolerance.reference = 4.0;
  }
  const InputSpec halves = fixed_integers({4}, {1, 0, 0, 1}, DType::u8);
  add("where", "any number but 0 chooses a",
      {rand({4}), rand({4}), fixed_integers({4}, {2, 0, 255, 128}, DType::u8)}, where);
  add("where", "infinities and NaN",
      {fixed({4}, {kInfinity, kNan, 0.5, 0.25}), fixed({4}, {0.5, 0.25, -kInfinity, kNan}), halves}, where)
      .nonfinite = true;
  add_extremes("where", {rand({4}), rand({4}), halves}, where);
  add_error("where", "sizes that do not fit", {rand({2, 3}), rand({3}), mask({2})}, where,
            "[where] expected sizes that are equal or 1");
  add_error("where", "a float mask", {rand({3}), rand({3}), rand({3})}, where, "[where] expected a mask u8");
  add_error("where", "integers", {integers({3}, 0, 2), integers({3}, 0, 2), mask({3})}, where,
            "[where] expected a float tensor");
  add_error("where", "two dtypes", {rand({3}), integers({3}, 0, 2), mask({3})}, where,
            "[where] operands differ");
  add_error(
      "where", "no mask", {rand({3}), rand({3})},
      [](const Variables& x) { return ops::where({}, x[0], x[1]); }, "got undefined tensor");
}

}  // namespace simsmoe::testing
