#include "ops/rotary.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

SMX_CASES(rotary) {
  const auto rotary = [](const Variables& x) { return ops::rotary(x[0]); };
  add("rotary", "B2 T5 H3 C4", {rand({2, 5, 3, 3, 4})}, rotary);
  add("rotary", "C=2", {rand({1, 3, 3, 1, 2})}, rotary);
  add("rotary", "T=0", {rand({1, 0, 3, 1, 2})}, rotary).zero_gradient = true;
  add("rotary", "later positions", {rand({1, 3, 3, 2, 6})},
      [](const Variables& x) { return ops::rotary(x[0], 1000, 500.0); });
  // The others pass: before, between and behind what is turned.
  const auto some = [](const Variables& x) { return ops::rotary({x[0], 1, 2}, 7); };
  add("rotary", "some heads", {rand({2, 3, 5, 4})}, some);
  add("rotary", "queries and keys of 2 + 2 * 1 heads", {rand({1, 5, 4, 2})}, [](const Variables& x) {
    return ops::rotary({x[0], 0, 3});
  });
  add("rotary", "no heads", {rand({1, 5, 4, 2})}, [](const Variables& x) {
    return ops::rotary({x[0], 4, 0});
  });
  add("rotary", "infinities and NaN",
      {fixed({1, 2, 3, 1, 2},
             {0.5, kInfinity, 1.0, -0.25, 0.75, kNan, -kInfinity, 2.0, kNan, 1.5, -1.0, 0.25})},
      rotary)
      .nonfinite = true;
  add_extremes("rotary", {rand({2, 5, 3, 3, 4})}, rotary);
  add_error("rotary", "no such heads", {rand({2, 3, 2, 4})}, some, "[rotary] expected x within the 2 heads");
  add_error("rotary", "odd C", {rand({1, 3, 3, 2, 5})}, rotary, "[rotary] expected an even C");
  add_error("rotary", "rank", {rand({3, 3, 2, 4})}, rotary, "[rotary] expected qkv [B, T, 3, H, C]");
  add_error(
      "rotary", "base", {rand({1, 3, 3, 2, 4})}, [](const Variables& x) { return ops::rotary(x[0], 0, 0.0); },
      "[rotary] expected a positive base");
}

}  // namespace simsmoe::testing
