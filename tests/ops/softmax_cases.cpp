#include "ops/softmax.hpp"

#include <cmath>

#include "tests/support/op_case.hpp"

// The cases that "Anatomy of an op" (ops/README.md) walks through.

namespace simsmoe::testing {

// Rows of 7, by the definition of the three.
static std::vector<double> of_rows(const std::string& name, const std::vector<double>& x) {
  std::vector<double> y;
  for (auto row = x.begin(); row != x.end(); row += 7) {
    double sum = 0.0;
    for (auto v = row; v != row + 7; ++v) sum += std::exp(*v);
    if (name == "logsumexp") y.push_back(std::log(sum));
    for (auto v = row; v != row + 7 && name != "logsumexp"; ++v)
      y.push_back(name == "softmax" ? std::exp(*v) / sum : *v - std::log(sum));
  }
  return y;
}

SMX_CASES(softmax) {
  using ops::Axes;
  using Op = std::function<Variable(const Variable&, const Axes&)>;
  const Op lse = [](const Variable& x, const Axes& axes) { return ops::logsumexp(x, axes); };
  for (const auto& [name, op] : {std::pair<const char*, Op>{"softmax", ops::softmax},
                                 std::pair<const char*, Op>{"log_softmax", ops::log_softmax},
                                 std::pair<const char*, Op>{"logsumexp", lse}}) {
    const Op function = op;
    const auto along = [function](Axes axes) {
      return [=](const Variables& x) { return function(x[0], axes); };
    };
    const auto run = along(-1);
    add(name, "3x7", {rand({3, 7})}, run).expected = [op_name = std::string(name)](const auto& x) {
      return of_rows(op_name, x[0]);
    };
    add(name, "2x3x5", {rand({2, 3, 5}, -4.0, 4.0)}, run);
    add(name, "one row", {rand({5})}, run);
    add(name, "no rows", {rand({0, 4})}, run).zero_gradient = true;
    add(name, "many rows", {rand({140, 257}, -3.0, 3.0)}, run);  // more than one thread's share
    // exp(1000) overflows every dtype: the maximum must go first
    add(name, "huge logits", {fixed({2, 3}, {1000, 998, 997, -2000, -2001, -1998})}, run);
    for (const int axis : {0, 1, 2})
      add(name, fmt::format("2x3x5 axis {}", axis), {rand({2, 3, 5})}, along(axis));
    add(name, "axes 0 and 2", {rand({2, 3, 4})}, along({0, 2}));
    add(name, "axes 1 and 2", {rand({2, 3, 4})}, along({2, 1}));
    add(name, "all", {rand({2, 3, 4})}, along(Axes::all()));
    add(name, "no columns", {rand({4, 0})}, along(0)).zero_gradient = true;
    add(name, "many columns", {rand({140, 257}, -3.0, 3.0)}, along(0));
    // -inf is a class that cannot be; with +inf, or nothing but -inf, there is no distribution.
    add(name, "infinities and NaN",
        {fixed({5, 3}, {1, -kInfinity, 0.5, kNan, 1, 0.5, kInfinity, 1, 0.5, -kInfinity, -kInfinity,
                        -kInfinity, 2, -1, 0.5})},
        run)
        .nonfinite = true;
    add_extremes(name, {rand({3, 7})}, run);
    add_error(name, "no such axis", {rand({2, 3})}, along(2), "[2, 3], got axis 2");
    add_error(name, "an axis twice", {rand({2, 3})}, along({0, -2}),
              fmt::format("[{}] expected every axis once, got 0 twice", name));
    add_error(name, "an empty axis", {rand({0, 3})}, along(0), fmt::format("[{}] expected [..., n]", name));
    add_error(name, "integers", {integers({2, 3}, 0, 5)}, run,
              fmt::format("[{}] expected a float tensor", name));
    add_error(name, "scalar", {rand({})}, run, fmt::format("[{}] expected [..., n]", name));
    add_error(name, "empty rows", {rand({3, 0})}, run, fmt::format("[{}] expected [..., n]", name));
  }
  // A row of one element: softmax is the constant 1 and log_softmax the constant 0.
  add("softmax", "n=1", {rand({4, 1})}, [](const Variables& x) { return ops::softmax(x[0]); }).zero_gradient =
      true;
  add("log_softmax", "n=1", {rand({4, 1})}, [](const Variables& x) {
    return ops::log_softmax(x[0]);
  }).zero_gradient = true;
  add("logsumexp", "n=1", {rand({4, 1})}, [](const Variables& x) { return ops::logsumexp(x[0]); });
  add("logsumexp", "kept", {rand({2, 3})}, [](const Variables& x) { return ops::logsumexp(x[0], -1, true); });
  add("logsumexp", "several kept", {rand({2, 3, 4})}, [](const Variables& x) {
    return ops::logsumexp(x[0], {0, 2}, true);
  });
}

}  // namespace simsmoe::testing
