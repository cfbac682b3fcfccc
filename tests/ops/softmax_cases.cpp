#include "ops/softmax.hpp"

#include "tests/support/op_case.hpp"

// The cases that "Anatomy of an op" (ops/README.md) walks through.

namespace simsmoe::testing {

SMX_CASES(softmax) {
  using Op = Variable (*)(const Variable&);
  for (const auto& [name, op] : {std::pair<const char*, Op>{"softmax", &ops::softmax},
                                 std::pair<const char*, Op>{"log_softmax", &ops::log_softmax},
                                 std::pair<const char*, Op>{"logsumexp", &ops::logsumexp}}) {
    const Op function = op;
    const auto run = [function](const Variables& x) { return function(x[0]); };
    add(name, "3x7", {rand({3, 7})}, run);
    add(name, "2x3x5", {rand({2, 3, 5}, -4.0, 4.0)}, run);
    add(name, "one row", {rand({5})}, run);
    add(name, "no rows", {rand({0, 4})}, run).zero_gradient = true;
    add(name, "many rows", {rand({140, 257}, -3.0, 3.0)}, run);  // more than one thread's share
    // exp(1000) overflows every dtype: the maximum must go first
    add(name, "huge logits", {fixed({2, 3}, {1000, 998, 997, -2000, -2001, -1998})}, run);
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
}

}  // namespace simsmoe::testing
