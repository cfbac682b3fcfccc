#include "ops/pairwise.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

SMX_CASES(pairwise) {
  const auto distances = [](const Variables& x) { return ops::squared_distances(x[0]); };
  add("squared_distances", "5x3", {rand({5, 3})}, distances);
  add("squared_distances", "one column", {rand({4, 1})}, distances);
  // A row is at distance 0 from itself, wherever it is.
  add("squared_distances", "one row", {rand({1, 3})}, distances).zero_gradient = true;
  add("squared_distances", "no rows", {rand({0, 3})}, distances);
  add("squared_distances", "no columns", {rand({4, 0})}, distances);
  add("squared_distances", "many rows", {rand({67, 33})}, distances);
  add("squared_distances", "infinities and NaN", {fixed({3, 2}, {0.5, 1.0, kInfinity, 0.25, kNan, -1.0})},
      distances)
      .nonfinite = true;
  add_extremes("squared_distances", {rand({5, 3})}, distances);
  add_error("squared_distances", "rank", {rand({3})}, distances, "[squared_distances] expected [n, p]");
  add_error("squared_distances", "integers", {integers({3, 2}, 0, 5)}, distances,
            "[squared_distances] expected a float tensor");
}

}  // namespace simsmoe::testing
