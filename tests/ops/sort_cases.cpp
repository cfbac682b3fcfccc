#include "ops/sort.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

namespace {

auto best(std::int64_t k, int axis = -1) {
  return [=](const Variables& x) { return ops::topk(x[0], k, axis).values; };
}

auto sorted(int axis, bool descending) {
  return [=](const Variables& x) { return ops::sort(x[0], axis, descending).values; };
}

// Distinct along every axis: multiples of 1/16 in an order that jumps.
InputSpec distinct_cube() {
  std::vector<double> values;
  for (int i = 0; i < 60; ++i) values.push_back((i * 7 % 60 - 30) / 16.0);
  return fixed({3, 4, 5}, std::move(values));
}

}  // namespace

SMX_CASES(sort) {
  const InputSpec special =
      fixed({2, 5}, {kNan, 0.5, -kInfinity, kInfinity, -0.25, 1.0, kNan, 0.5, kNan, 2.0});

  for (const std::int64_t k : {1, 2, 7})
    add("topk", fmt::format("5x7, k={}", k), {distinct({5, 7})}, best(k));
  add("topk", "one column", {distinct({4, 1})}, best(1));
  add("topk", "a vector", {distinct({9})}, best(4));
  add("topk", "no rows", {rand({0, 4})}, best(2));
  add("topk", "many rows", {distinct({1500, 16})}, best(2));
  for (const int axis : {0, 1, 2, -2})
    add("topk", fmt::format("3x4x5 axis {}", axis), {distinct_cube()}, best(3, axis));
  add("topk", "infinities and NaN", {special}, best(4)).nonfinite = true;
  add_extremes("topk", {distinct({5, 7})}, best(3));
  add_error("topk", "k = 0", {rand({2, 3})}, best(0), "[topk] expected 1 <= k <= 3, got 0");
  add_error("topk", "k > E", {rand({2, 3})}, best(4), "[topk] expected 1 <= k <= 3, got 4");
  add_error("topk", "k > rows", {rand({2, 3})}, best(3, 0), "[topk] expected 1 <= k <= 2, got 3");
  add_error("topk", "scalar", {rand({})}, best(1), "[topk] expected an axis of");
  add_error("topk", "no such axis", {rand({2, 3})}, best(1, 2), "[2, 3], got axis 2");
  add_error("topk", "integers", {integers({2, 3}, 0, 5)}, best(1), "[topk] expected a float tensor");

  for (const bool descending : {false, true}) {
    const std::string prefix = descending ? "falling " : "rising ";
    for (const int axis : {0, 1, 2, -1})
      add("sort", prefix + fmt::format("3x4x5 axis {}", axis), {distinct_cube()}, sorted(axis, descending));
    add("sort", prefix + "one element", {rand({1})}, sorted(0, descending));
    add("sort", prefix + "no rows", {rand({0, 4})}, sorted(1, descending));
    add("sort", prefix + "nothing", {rand({4, 0})}, sorted(1, descending)).zero_gradient = true;
    add("sort", prefix + "many rows", {distinct({1500, 16})}, sorted(1, descending));
    add("sort", prefix + "infinities and NaN", {special}, sorted(1, descending)).nonfinite = true;
    // Equal elements: no differences there, but every dtype must agree with f64.
    add("sort", prefix + "ties", {fixed({2, 4}, {1, 3, 3, 1, 5, 5, 5, 5})}, sorted(1, descending)).dtypes = {
        DType::f32, DType::bf16};
  }
  add_extremes("sort", {distinct({5, 7})}, sorted(1, false));
  add_error("sort", "no such axis", {rand({2, 3})}, sorted(2, false), "[2, 3], got axis 2");
  add_error("sort", "integers", {integers({2, 3}, 0, 5)}, sorted(1, false), "[sort] expected a float tensor");
}

}  // namespace simsmoe::testing
