#include "ops/index.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

SMX_CASES(index) {
  const auto embedded = [](const Variables& x) { return ops::embedding(x[0], x[1].value()); };
  const auto selected = [](const Variables& x) { return ops::index_select(x[0], x[1].value()); };
  const auto taken = [](const Variables& x) { return ops::take_along_last(x[0], x[1].value()); };

  // 18 ids among 5 of 7 rows: some repeat, two are never read.
  add("embedding", "7x5", {rand({7, 5}), integers({2, 9}, 0, 5)}, embedded);
  add("embedding", "i64 ids", {rand({7, 5}), integers({9}, 0, 7, DType::i64)}, embedded);
  add("embedding", "scalar id", {rand({7, 5}), fixed_integers({}, {6})}, embedded);
  add("embedding", "no ids", {rand({3, 2}), integers({0}, 0, 3)}, embedded).zero_gradient = true;
  add("embedding", "many", {rand({50, 67}), integers({400}, 0, 50)}, embedded);
  add_error("embedding", "beyond", {rand({3, 2}), fixed_integers({2}, {0, 3})}, embedded,
            "[embedding] indices[1] = 3 is outside [0, 3)");
  add_error("embedding", "negative", {rand({3, 2}), fixed_integers({2}, {-1, 0})}, embedded,
            "[embedding] indices[0] = -1 is outside [0, 3)");
  add_error("embedding", "float ids", {rand({3, 2}), rand({2})}, embedded,
            "[embedding] expected an integer tensor");
  add_error("embedding", "integer weight", {integers({3, 2}, 0, 2), integers({2}, 0, 2)}, embedded,
            "[embedding] expected a float tensor");
  add_error("embedding", "weight of rank 1", {rand({3}), integers({2}, 0, 2)}, embedded,
            "[embedding] expected weight [V, D]");

  add("index_select", "7x2x3", {rand({7, 2, 3}), integers({9}, 0, 5)}, selected);
  add("index_select", "vector", {rand({7}), fixed_integers({5}, {6, 0, 6, 6, 3}, DType::i64)}, selected);
  add("index_select", "empty rows", {rand({4, 0}), integers({3}, 0, 4)}, selected);
  add_error("index_select", "beyond", {rand({3}), fixed_integers({1}, {5})}, selected,
            "[index_select] indices[0] = 5 is outside [0, 3)");
  add_error("index_select", "matrix of indices", {rand({3}), integers({2, 2}, 0, 3)}, selected,
            "[index_select] expected x [n, ...] and indices [m]");
  add_error("index_select", "scalar", {rand({}), integers({2}, 0, 1)}, selected,
            "[index_select] expected x [n, ...] and indices [m]");

  add("take_along_last", "4x5, 3 of each", {rand({4, 5}), integers({4, 3}, 0, 5)}, taken);
  add("take_along_last", "repeated", {rand({2, 3}), fixed_integers({2, 4}, {1, 1, 1, 0, 2, 2, 0, 0})}, taken);
  add("take_along_last", "2x3x4", {rand({2, 3, 4}), integers({2, 3, 1}, 0, 4, DType::i64)}, taken);
  add("take_along_last", "nothing", {rand({2, 3}), integers({2, 0}, 0, 3)}, taken).zero_gradient = true;
  add("take_along_last", "no rows", {rand({0, 3}), integers({0, 2}, 0, 3)}, taken);
  add("take_along_last", "many rows", {rand({400, 67}), integers({400, 5}, 0, 67)}, taken);
  add_error("take_along_last", "beyond", {rand({1, 3}), fixed_integers({1, 2}, {2, 3})}, taken,
            "[take_along_last] indices[1] = 3 is outside [0, 3)");
  add_error("take_along_last", "other rows", {rand({2, 3}), integers({3, 1}, 0, 3)}, taken,
            "[take_along_last] expected x [..., n] and indices [..., k]");
}

}  // namespace simsmoe::testing
