#include "ops/random.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

namespace {

auto dropping(double p) {
  return
      [p](const Variables& x) { return ops::dropout(x[0], p, {.seed = 7, .stream = stream_of("cases")}, 3); };
}

}  // namespace

SMX_CASES(random) {
  add("dropout", "3x7", {rand({3, 7})}, dropping(0.5));
  add("dropout", "scalar", {rand({})}, dropping(0.01));
  add("dropout", "empty", {rand({0, 7})}, dropping(0.5));
  add("dropout", "many elements", {rand({34567})}, dropping(0.1));
  add("dropout", "infinities and NaN", {fixed({6}, {kInfinity, 0.5, kNan, 1, -kInfinity, kNan})},
      dropping(0.5))
      .nonfinite = true;
  add_extremes("dropout", {rand({3, 7})}, dropping(0.5));
  add_error("dropout", "p = 1", {rand({3})}, dropping(1.0),
            "[dropout] expected a probability in [0, 1), got 1");
  add_error("dropout", "p < 0", {rand({3})}, dropping(-0.5),
            "[dropout] expected a probability in [0, 1), got -0.5");
  add_error("dropout", "integers", {integers({3}, 0, 5)}, dropping(0.5), "[dropout] expected a float tensor");
}

}  // namespace simsmoe::testing
