#include "ops/layout.hpp"

#include <algorithm>

#include "ops/unary.hpp"
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

// What moves elements moves whatever they are. run: of [3, 2]
void add_special(const std::string& op, const std::function<Variable(const Variables&)>& run) {
  add(op, "infinities and NaN", {fixed({3, 2}, {kInfinity, 0.5, kNan, 0.25, -kInfinity, 1.0})}, run)
      .nonfinite = true;
  add_extremes(op, {rand({3, 2})}, run);
}

}  // namespace

SMX_CASES(layout) {
  add("reshape", "3x4 to 2x6", {rand({3, 4})}, [](const Variables& x) { return ops::reshape(x[0], {2, 6}); });
  add("reshape", "scalar", {rand({1, 1})}, [](const Variables& x) { return ops::reshape(x[0], {}); });
  add("reshape", "empty", {rand({0, 3})}, [](const Variables& x) { return ops::reshape(x[0], {5, 0}); });
  add("reshape", "used twice", {rand({6})}, [](const Variables& x) {
    return ops::concat({ops::reshape(x[0], {2, 3}), ops::reshape(x[0], {2, 3})}, 1);
  });
  add("reshape", "to what is left", {rand({3, 4, 2})}, [](const Variables& x) {
    return ops::reshape(x[0], {2, -1, 3});
  });
  add("reshape", "to a vector", {rand({3, 4})}, [](const Variables& x) { return ops::reshape(x[0], {-1}); });
  add("reshape", "nothing is left", {rand({0, 3})}, [](const Variables& x) {
    return ops::reshape(x[0], {3, -1});
  });
  add("reshape", "sizes of a list", {rand({3, 4})}, [](const Variables& x) {
    return ops::reshape(x[0], std::vector<std::int64_t>{-1, 6});
  });
  add_special("reshape", [](const Variables& x) { return ops::reshape(x[0], {2, 3}); });
  add_error(
      "reshape", "two unknown", {rand({3, 4})},
      [](const Variables& x) {
        return ops::reshape(x[0], {-1, -1});
      },
      "[reshape] expected sizes, of which one may be -1, got [-1, -1]");
  add_error(
      "reshape", "a negative size", {rand({3, 4})},
      [](const Variables& x) {
        return ops::reshape(x[0], {-2, 6});
      },
      "[reshape] expected sizes, of which one may be -1, got [-2, 6]");
  add_error(
      "reshape", "no multiple", {rand({3, 4})},
      [](const Variables& x) {
        return ops::reshape(x[0], {5, -1});
      },
      "[reshape] expected sizes that divide the elements of");
  add_error(
      "reshape", "unknown beside 0", {rand({0, 4})},
      [](const Variables& x) {
        return ops::reshape(x[0], {0, -1});
      },
      "[reshape] expected sizes that divide the elements of");
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
  add_special("permute", permuted({1, 0}));
  const auto transposed = [](const Variables& x) { return ops::transpose(x[0]); };
  add("transpose", "2x3x4", {rand({2, 3, 4})}, transposed);
  add_special("transpose", transposed);
  add_error("transpose", "a vector", {rand({3})}, transposed, "[transpose] expected at least two axes");

  for (const int axis : {0, 1, -1}) {
    const Shape shape{2, 3, 4};
    add("concat", fmt::format("axis {}", axis),
        {rand(shape), rand(shape.with(axis, 5)), rand(shape.with(axis, 0)), rand(shape)}, joined(axis));
    add("slice", fmt::format("axis {}", axis), {rand(shape)}, sliced(axis, 1, 2));
  }
  add("concat", "one part", {rand({2, 3})}, joined(0));
  add("concat", "many rows", {rand({150, 100}), rand({150, 77})}, joined(1));
  add_special("concat", [](const Variables& x) { return ops::concat({x[0], x[0]}, 1); });
  add_error(
      "concat", "none", {}, [](const Variables&) { return ops::concat({}, 0); },
      "[concat] expected at least one part");
  add_error("concat", "scalars", {rand({}), rand({})}, joined(0), "[concat] expected at least one axis");
  add_error("concat", "other sizes", {rand({2, 3}), rand({3, 3})}, joined(1),
            "[concat] expected parts equal to");
  add_error("concat", "other rank", {rand({2, 3}), rand({2})}, joined(0), "[concat] expected parts equal to");

  const auto stacked = [](int axis) { return [axis](const Variables& x) { return ops::stack(x, axis); }; };
  for (const int axis : {0, 1, 2, -1})
    add("stack", fmt::format("axis {}", axis), {rand({3, 4}), rand({3, 4}), rand({3, 4})}, stacked(axis));
  add("stack", "scalars", {rand({}), rand({})}, stacked(0));
  add_special("stack", [](const Variables& x) { return ops::stack({x[0], x[0]}, 1); });
  add_error("stack", "other sizes", {rand({2, 3}), rand({2, 2})}, stacked(0),
            "[stack] expected parts equal to");
  add_error("stack", "no such axis", {rand({3}), rand({3})}, stacked(2),
            "[stack] expected an axis of rank 2, got axis 2");
  add_error(
      "stack", "none", {}, [](const Variables&) { return ops::stack({}); },
      "[stack] expected at least one part");

  add("slice", "all", {rand({3, 2})}, sliced(0, 0, 3));
  add("slice", "the last two", {rand({4, 3})}, [](const Variables& x) { return ops::slice(x[0], 0, -2); });
  add("slice", "all but the last", {rand({4, 3})}, sliced(1, 0, -1));
  add("slice", "negative bounds", {rand({2, 5})}, sliced(-1, -4, -1));
  add("slice", "from the end, to beyond none", {rand({4})}, sliced(0, -4, 4));
  add_special("slice", sliced(0, 1, 3));
  add("slice", "nothing", {rand({3, 2})}, sliced(1, 1, 1)).zero_gradient = true;
  add("slice", "many rows", {rand({150, 177})}, sliced(1, 20, 170));
  add_error("slice", "beyond", {rand({3, 2})}, sliced(0, 1, 4), "[slice] expected 0 <= begin <= end <= 3");
  add_error("slice", "backwards", {rand({3, 2})}, sliced(0, 2, 1), "[slice] expected 0 <= begin <= end <= 3");

  add_error("slice", "before the first", {rand({3, 2})}, sliced(0, -4, 2), "got [-4, 2)");
  add_error("slice", "backwards from the end", {rand({3, 2})}, sliced(0, -1, -2),
            "[slice] expected 0 <= begin <= end <= 3");
  add_error("slice", "no such axis", {rand({3, 2})}, sliced(2, 0, 1), "got axis 2");

  // Parts in another order, so that each has its own weights.
  const auto split_by = [](std::vector<std::int64_t> sizes, int axis) {
    return [=](const Variables& x) {
      Variables parts = ops::split(x[0], sizes, axis);
      std::reverse(parts.begin(), parts.end());
      return ops::concat(parts, axis);
    };
  };
  const auto chunked = [](std::int64_t count, int axis) {
    return [=](const Variables& x) { return ops::stack(ops::chunk(x[0], count, axis), axis); };
  };
  add("split", "columns", {rand({3, 6})}, split_by({2, 1, 0, 3}, 1));
  add("split", "rows", {rand({5, 2})}, split_by({4, 1}, -2));
  add("split", "one part", {rand({5})}, split_by({5}, 0));
  add_special("split", split_by({1, 2}, 0));
  add_error("split", "too little", {rand({5})}, split_by({2, 2}, 0),
            "[split] expected sizes that add up to 5");
  add_error("split", "a negative size", {rand({5})}, split_by({6, -1}, 0), "got 6, -1");
  add_error("split", "no such axis", {rand({5})}, split_by({5}, 1), "got axis 1");
  add("chunk", "columns", {rand({3, 6})}, chunked(3, 1));
  add("chunk", "rows", {rand({4, 2})}, chunked(2, 0));
  add("chunk", "of nothing", {rand({3, 0})}, chunked(2, 1));
  add_special("chunk", chunked(2, 1));
  add_error("chunk", "unequal", {rand({5})}, chunked(2, 0),
            "[chunk] expected a number of parts that divides 5");
  add_error("chunk", "none", {rand({5})}, chunked(0, 0), "[chunk] expected a number of parts that divides 5");
  add_error("chunk", "no such axis", {rand({4})}, chunked(2, 1), "got axis 1");

  add("broadcast_to", "rows", {rand({4})}, repeated({3, 4}));
  add("broadcast_to", "columns", {rand({3, 1})}, repeated({3, 4}));
  add("broadcast_to", "middle", {rand({3, 1, 2})}, repeated({2, 3, 4, 2}));
  add("broadcast_to", "alternating", {rand({1, 3, 1, 2, 1})}, repeated({2, 3, 4, 2, 2}));
  add("broadcast_to", "scalar", {rand({})}, repeated({2, 3}));
  add("broadcast_to", "itself", {rand({2, 3})}, repeated({2, 3}));
  add("broadcast_to", "to nothing", {rand({1, 3})}, repeated({0, 3})).zero_gradient = true;
  add("broadcast_to", "many rows", {rand({257})}, repeated({140, 257}));
  add("broadcast_to", "many columns", {rand({140, 1})}, repeated({140, 257}));
  add_special("broadcast_to", repeated({2, 3, 2}));
  add_error("broadcast_to", "other size", {rand({3})}, repeated({3, 4}),
            "[broadcast_to] expected sizes that match");
  add_error("broadcast_to", "fewer axes", {rand({1, 3})}, repeated({3}),
            "[broadcast_to] expected sizes that match");

  const auto replaced = [](double value) {
    return [value](const Variables& x) { return ops::with_diagonal(x[0], value); };
  };
  // A value with slope 1 in x, so that differences by hand agree.
  const auto through = [](const Variables& x) {
    return ops::straight_through(x[0], x[0].defined() ? ops::add(x[0].detach(), 0.5).value() : Tensor());
  };
  add("straight_through", "2x3", {rand({2, 3})}, through);
  add("straight_through", "scalar", {rand({})}, through);
  add("straight_through", "none", {rand({0, 3})}, through);
  add("straight_through", "infinities and NaN", {fixed({3}, {kInfinity, kNan, 1.0})}, through).nonfinite =
      true;
  add_extremes("straight_through", {rand({5})}, through);
  add_error(
      "straight_through", "shape", {rand({2, 3}), rand({3, 2})},
      [](const Variables& x) { return ops::straight_through(x[0], x[1].value()); },
      "[straight_through] expected a value like");
  add("with_diagonal", "4x4", {rand({4, 4})}, replaced(2.0));
  add("with_diagonal", "two of 3x3", {rand({2, 3, 3})}, replaced(0.0));
  add("with_diagonal", "1x1", {rand({1, 1})}, replaced(1.0)).zero_gradient = true;
  add("with_diagonal", "none", {rand({2, 0, 0})}, replaced(1.0));
  add("with_diagonal", "many", {rand({3, 131, 131})}, replaced(-1.0));
  add("with_diagonal", "infinities and NaN",
      {fixed({3, 3}, {kNan, kInfinity, 0.5, -kInfinity, 1, 0.5, kNan, 0.25, kInfinity})},
      replaced(-kInfinity))
      .nonfinite = true;
  add_extremes("with_diagonal", {rand({4, 4})}, replaced(0.0));
  add_error("with_diagonal", "not square", {rand({3, 4})}, replaced(0.0),
            "[with_diagonal] expected [..., n, n]");
  add_error("with_diagonal", "vector", {rand({4})}, replaced(0.0), "[with_diagonal] expected [..., n, n]");
  add_error("with_diagonal", "integers", {integers({2, 2}, 0, 5)}, replaced(0.0),
            "[with_diagonal] expected a float tensor");
}

}  // namespace simsmoe::testing
