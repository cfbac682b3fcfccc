#include "ops/layout.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

namespace {

auto permuted(std::vector<int> axes) {
  return [axes](const Variables& x) { return ops::permute(x[0], axes); };
}

auto sliced(int axis, std::int64_t begin, std::int64_t end) {
  return [=](const Variables& x) { return ops::slice(x[0], axis, begin, end); };
}

auto joined(int axis) {
  return [axis](const Variables& x) { return ops::concat(x, axis); };
}

auto repeated(Shape shape) {
  return [shape](const Variables& x) { return ops::broadcast_to(x[0], shape); };
}

}  // namespace

SMX_CASES(layout) {
  add("reshape", "3x4 to 2x6", {rand({3, 4})}, [](const Variables& x) { return ops::reshape(x[0], {2, 6}); });
  add("reshape", "scalar", {rand({1, 1})}, [](const Variables& x) { return ops::reshape(x[0], {}); });
  add("reshape", "empty", {rand({0, 3})}, [](const Variables& x) { return ops::reshape(x[0], {5, 0}); });
  add("reshape", "used twice", {rand({6})}, [](const Variables& x) {
    return ops::concat({ops::reshape(x[0], {2, 3}), ops::reshape(x[0], {2, 3})}, 1);
  });
  add_error(
      "reshape", "other count", {rand({3, 4})}, [](const Variables& x) { return ops::reshape(x[0], {5}); },
      "[reshape] expected as many elements");

  // All orders of three axes: whole runs, tiles, and neighbours that merge.
  for (const std::vector<int>& axes :
       std::vector<std::vector<int>>{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}})
    add("permute", fmt::format("{}{}{}", axes[0], axes[1], axes[2]), {rand({3, 4, 5})}, permuted(axes));
  add("permute", "heads", {rand({2, 3, 2, 5})}, permuted({0, 2, 1, 3}));
  add("permute", "six axes, negative", {rand({2, 3, 1, 2, 1, 2})}, permuted({-1, 0, 4, 2, 3, 1}));
  add("permute", "scalar", {rand({})}, permuted({}));
  add("permute", "empty", {rand({3, 0, 2})}, permuted({2, 0, 1}));
  add("permute", "many tiles", {rand({67, 3, 97})}, permuted({2, 1, 0}));
  add("permute", "many runs", {rand({31, 17, 40})}, permuted({1, 0, 2}));
  add_error("permute", "too few", {rand({3, 4})}, permuted({0}), "[permute] expected 2 axes");
  add_error("permute", "repeated", {rand({3, 4})}, permuted({1, 1}), "[permute] expected every axis once");
  add("permute", "transpose", {rand({2, 3, 4})}, [](const Variables& x) { return ops::transpose(x[0]); });
  add_error(
      "permute", "transpose of a vector", {rand({3})},
      [](const Variables& x) { return ops::transpose(x[0]); }, "[transpose] expected at least two axes");

  for (const int axis : {0, 1, -1}) {
    const Shape shape{2, 3, 4};
    add("concat", fmt::format("axis {}", axis),
        {rand(shape), rand(shape.with(axis, 5)), rand(shape.with(axis, 0)), rand(shape)}, joined(axis));
    add("slice", fmt::format("axis {}", axis), {rand(shape)}, sliced(axis, 1, 2));
  }
  add("concat", "one part", {rand({2, 3})}, joined(0));
  add("concat", "many rows", {rand({150, 100}), rand({150, 77})}, joined(1));
  add_error(
      "concat", "none", {}, [](const Variables&) { return ops::concat({}, 0); },
      "[concat] expected at least one part");
  add_error("concat", "scalars", {rand({}), rand({})}, joined(0), "[concat] expected at least one axis");
  add_error("concat", "other sizes", {rand({2, 3}), rand({3, 3})}, joined(1),
            "[concat] expected parts equal to");
  add_error("concat", "other rank", {rand({2, 3}), rand({2})}, joined(0), "[concat] expected parts equal to");

  add("slice", "all", {rand({3, 2})}, sliced(0, 0, 3));
  add("slice", "nothing", {rand({3, 2})}, sliced(1, 1, 1)).zero_gradient = true;
  add("slice", "many rows", {rand({150, 177})}, sliced(1, 20, 170));
  add_error("slice", "beyond", {rand({3, 2})}, sliced(0, 1, 4), "[slice] expected 0 <= begin <= end <= 3");
  add_error("slice", "backwards", {rand({3, 2})}, sliced(0, 2, 1), "[slice] expected 0 <= begin <= end <= 3");

  add("broadcast_to", "rows", {rand({4})}, repeated({3, 4}));
  add("broadcast_to", "columns", {rand({3, 1})}, repeated({3, 4}));
  add("broadcast_to", "middle", {rand({3, 1, 2})}, repeated({2, 3, 4, 2}));
  add("broadcast_to", "alternating", {rand({1, 3, 1, 2, 1})}, repeated({2, 3, 4, 2, 2}));
  add("broadcast_to", "scalar", {rand({})}, repeated({2, 3}));
  add("broadcast_to", "itself", {rand({2, 3})}, repeated({2, 3}));
  add("broadcast_to", "to nothing", {rand({1, 3})}, repeated({0, 3})).zero_gradient = true;
  add("broadcast_to", "many rows", {rand({257})}, repeated({140, 257}));
  add("broadcast_to", "many columns", {rand({140, 1})}, repeated({140, 257}));
  add_error("broadcast_to", "other size", {rand({3})}, repeated({3, 4}),
            "[broadcast_to] expected sizes that match");
  add_error("broadcast_to", "fewer axes", {rand({1, 3})}, repeated({3}),
            "[broadcast_to] expected sizes that match");
}

}  // namespace simsmoe::testing
