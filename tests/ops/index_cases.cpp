#include "ops/index.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

namespace {

auto gathered(int axis) {
  return [axis](const Variables& x) { return ops::gather(x[0], axis, x[1].value()); };
}

auto scattered(int axis) {
  return [axis](const Variables& x) { return ops::scatter_add(x[0], axis, x[2].value(), x[1]); };
}

const double kSpecial[] = {kInfinity, 0.5, kNan, 0.25, -kInfinity, 1.0, 0.75, 2.0, -0.5};

InputSpec special(Shape shape) { return fixed(shape, {kSpecial, kSpecial + shape.numel()}); }

void add_gather() {
  add("gather", "rows", {rand({5, 3}), integers({4, 3}, 0, 5)}, gathered(0));
  add("gather", "columns", {rand({4, 5}), integers({4, 7}, 0, 5, DType::i64)}, gathered(1));
  add("gather", "middle", {rand({2, 5, 3}), integers({2, 4, 3}, 0, 5)}, gathered(-2));
  add("gather", "vector", {rand({5}), fixed_integers({4}, {4, 0, 4, 4})}, gathered(0));
  add("gather", "a smaller index", {rand({4, 5, 3}), integers({2, 6, 2}, 0, 5)}, gathered(1));
  add("gather", "a smaller index, last axis", {rand({4, 5}), integers({3, 2}, 0, 5)}, gathered(1));
  add("gather", "no rows", {rand({3, 0}), integers({2, 0}, 0, 3)}, gathered(0));
  add("gather", "nothing", {rand({3, 2}), integers({0, 2}, 0, 3)}, gathered(0)).zero_gradient = true;
  add("gather", "many columns", {rand({50, 400}), integers({67, 400}, 0, 50)}, gathered(0));
  add("gather", "many rows", {rand({400, 50}), integers({400, 67}, 0, 50)}, gathered(1));
  add("gather", "infinities and NaN", {special({3, 3}), integers({2, 3}, 0, 3)}, gathered(0)).nonfinite =
      true;
  add_extremes("gather", {rand({5, 3}), integers({4, 3}, 0, 5)}, gathered(0));
  add_error("gather", "beyond", {rand({3, 2}), fixed_integers({1, 2}, {2, 3})}, gathered(0),
            "[gather] indices[1] = 3 is outside [0, 3)");
  add_error("gather", "a larger index", {rand({3, 2}), integers({3, 3}, 0, 2)}, gathered(0),
            "[gather] expected an index no larger than");
  add_error("gather", "other rank", {rand({3, 2}), integers({3}, 0, 2)}, gathered(0),
            "[gather] expected an index no larger than");
  add_error("gather", "no such axis", {rand({3, 2}), integers({3, 2}, 0, 2)}, gathered(2), "got axis 2");
  add_error("gather", "float index", {rand({3}), rand({3})}, gathered(0),
            "[gather] expected an integer tensor");
  add_error(
      "gather", "no index", {rand({3})}, [](const Variables& x) { return ops::gather(x[0], 0, {}); },
      "[gather] expected an integer tensor (i32 or i64), got undefined tensor");
}

void add_scatter() {
  // Several sources for one place, and places without any.
  add("scatter_add", "rows", {rand({5, 3}), rand({8, 3}), integers({8, 3}, 0, 4)}, scattered(0));
  add("scatter_add", "columns", {rand({4, 5}), rand({4, 7}), integers({4, 7}, 0, 5, DType::i64)},
      scattered(1));
  add("scatter_add", "middle", {rand({2, 5, 3}), rand({2, 4, 3}), integers({2, 4, 3}, 0, 5)}, scattered(-2));
  add("scatter_add", "square", {rand({4, 4}), rand({4, 4}), integers({4, 4}, 0, 4)}, scattered(0));
  add("scatter_add", "a smaller index", {rand({4, 5, 3}), rand({2, 6, 2}), integers({2, 6, 2}, 0, 5)},
      scattered(1));
  add("scatter_add", "all to one place",
      {rand({3}), rand({9}), fixed_integers({9}, {1, 1, 1, 1, 1, 1, 1, 1, 1})}, scattered(0));
  add("scatter_add", "nothing", {rand({3, 2}), rand({0, 2}), integers({0, 2}, 0, 3)}, scattered(0));
  add("scatter_add", "into nothing", {rand({0, 2}), rand({0, 2}), integers({0, 2}, 0, 3)}, scattered(0));
  add("scatter_add", "many columns", {rand({50, 400}), rand({67, 400}), integers({67, 400}, 0, 50)},
      scattered(0));
  add("scatter_add", "many rows", {rand({400, 50}), rand({400, 67}), integers({400, 67}, 0, 50)},
      scattered(1));
  add("scatter_add", "infinities and NaN", {special({3, 3}), rand({2, 3}), integers({2, 3}, 0, 3)},
      scattered(0))
      .nonfinite = true;
  add_extremes("scatter_add", {rand({5, 3}), rand({8, 3}), integers({8, 3}, 0, 4)}, scattered(0));
  add_error("scatter_add", "beyond", {rand({3}), rand({2}), fixed_integers({2}, {-1, 0})}, scattered(0),
            "[scatter_add] indices[0] = -1 is outside [0, 3)");
  add_error("scatter_add", "other source", {rand({3}), rand({3}), integers({2}, 0, 3)}, scattered(0),
            "[scatter_add] expected a source [2]");
  add_error("scatter_add", "a larger index", {rand({3, 2}), rand({3, 3}), integers({3, 3}, 0, 2)},
            scattered(0), "[scatter_add] expected an index no larger than");
  add_error("scatter_add", "two dtypes", {rand({3}), integers({3}, 0, 3), integers({3}, 0, 3)}, scattered(0),
            "[scatter_add] operands differ");
}

}  // namespace

SMX_CASES(index) {
  add_gather();
  add_scatter();
  const auto embedded = [](const Variables& x) { return ops::embedding(x[0], x[1].value()); };
  const auto selected = [](const Variables& x) { return ops::index_select(x[0], x[1].value()); };
  const auto taken = [](const Variables& x) { return ops::take_along_last(x[0], x[1].value()); };

  // 18 ids among 5 of 7 rows: some repeat, two are never read.
  add("embedding", "7x5", {rand({7, 5}), integers({2, 9}, 0, 5)}, embedded);
  add("embedding", "i64 ids", {rand({7, 5}), integers({9}, 0, 7, DType::i64)}, embedded);
  add("embedding", "scalar id", {rand({7, 5}), fixed_integers({}, {6})}, embedded);
  add("embedding", "no ids", {rand({3, 2}), integers({0}, 0, 3)}, embedded).zero_gradient = true;
  add("embedding", "many", {rand({50, 67}), integers({400}, 0, 50)}, embedded);
  add("embedding", "infinities and NaN", {special({3, 2}), integers({5}, 0, 3)}, embedded).nonfinite = true;
  add_extremes("embedding", {rand({7, 5}), integers({9}, 0, 5)}, embedded);
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
  const auto selected_along = [](int axis) {
    return [axis](const Variables& x) { return ops::index_select(x[0], x[1].value(), axis); };
  };
  for (const int axis : {0, 1, 2, -1})
    add("index_select", fmt::format("3x4x5 axis {}", axis),
        {rand({3, 4, 5}), fixed_integers({5}, {2, 0, 2, 2, 0})}, selected_along(axis));
  add("index_select", "nothing", {rand({3, 4}), integers({0}, 0, 3)}, selected_along(1)).zero_gradient = true;
  add("index_select", "of no rows", {rand({0, 4}), integers({3}, 0, 4)}, selected_along(1));
  add("index_select", "many columns", {rand({70, 300}), integers({400}, 0, 300)}, selected_along(1));
  add("index_select", "many in the middle", {rand({9, 50, 67}), integers({70}, 0, 50)}, selected_along(1));
  add("index_select", "infinities and NaN", {special({3, 3}), integers({4}, 0, 3)}, selected_along(1))
      .nonfinite = true;
  add_extremes("index_select", {rand({7, 2, 3}), integers({9}, 0, 5)}, selected);
  add_error("index_select", "no such axis", {rand({3, 4}), integers({3}, 0, 3)}, selected_along(2),
            "got axis 2");
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
  add("take_along_last", "infinities and NaN", {special({3, 3}), integers({3, 2}, 0, 3)}, taken).nonfinite =
      true;
  add_extremes("take_along_last", {rand({4, 5}), integers({4, 3}, 0, 5)}, taken);
  add_error("take_along_last", "beyond", {rand({1, 3}), fixed_integers({1, 2}, {2, 3})}, taken,
            "[take_along_last] indices[1] = 3 is outside [0, 3)");
  add_error("take_along_last", "other rows", {rand({2, 3}), integers({3, 1}, 0, 3)}, taken,
            "[take_along_last] expected x [..., n] and indices [..., k]");
}

}  // namespace simsmoe::testing
