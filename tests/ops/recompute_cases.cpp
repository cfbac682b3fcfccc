#include "ops/recompute.hpp"

#include "ops/binary.hpp"
#include "ops/matmul.hpp"
#include "ops/reduce.hpp"
#include "ops/unary.hpp"
#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

SMX_CASES(recompute) {
  add_error(
      "recompute", "no function", {rand({2})}, [](const Variables& x) { return ops::recompute(x[0], {})[0]; },
      "[recompute] expected a function");
  const auto alone = [](const Variables& x) {
    return ops::recompute(x[0], [](const Variable& in) { return Variables{ops::tanh(ops::square(in))}; })[0];
  };
  // What is learned within the part is captured by it, not given to the op.
  const auto with_weight = [](const Variables& x) {
    return ops::recompute(x[0], [w = x[1]](const Variable& in) {
      return Variables{ops::mul(in, ops::tanh(ops::linear(in, w)))};
    })[0];
  };
  const auto two_results = [](const Variables& x) {
    const Variables y = ops::recompute(x[0], [](const Variable& in) {
      return Variables{ops::exp(in), ops::sum(ops::square(in))};
    });
    return ops::mul(y[0], y[1]);
  };
  const auto one_twice = [](const Variables& x) {
    const Variables y = ops::recompute(x[0], [](const Variable& in) {
      const Variable square = ops::square(in);
      return Variables{square, square};
    });
    return ops::mul(y[0], y[1]);
  };
  // The part is nothing, and so is half of one: its results are its input.
  const auto nothing = [](const Variables& x) {
    return ops::recompute(x[0], [](const Variable& in) { return Variables{ops::cast(in, in.dtype())}; })[0];
  };
  const auto half_of_nothing = [nothing](const Variables& x) {
    const Variables y = ops::recompute(x[0], [](const Variable& in) {
      return Variables{in, ops::square(in), in};
    });
    return ops::add(ops::mul(ops::mul(y[0], y[1]), y[2]), nothing(x));
  };
  // A weight as it is, which no op has read.
  const auto weight_alone = [](const Variables& x) {
    const Variables y = ops::recompute(x[0], [w = x[1]](const Variable& in) {
      return Variables{ops::abs(in), w};
    });
    return ops::add(y[0], y[1]);
  };
  const auto beside = [alone](const Variables& x) { return ops::add(alone(x), x[0]); };
  add("recompute", "3x7", {rand({3, 7})}, alone);
  add("recompute", "scalar", {rand({})}, alone);
  add("recompute", "none", {rand({0, 3})}, alone);
  add("recompute", "a weight within", {rand({5, 4}), optional(rand({4, 4}))}, with_weight);
  add("recompute", "the input alone is constant", {constant(rand({5, 4})), optional(rand({4, 4}))},
      with_weight);
  add("recompute", "a weight among the results", {rand({2, 6}), optional(rand({6}))}, weight_alone);
  add("recompute", "a weight among the results of a constant", {constant(rand({2, 6})), optional(rand({6}))},
      weight_alone);
  add("recompute", "two results", {rand({6})}, two_results);
  add("recompute", "one result twice", {rand({6})}, one_twice);
  add("recompute", "nothing", {rand({6})}, nothing);
  add("recompute", "its input among the results", {rand({6})}, half_of_nothing);
  add("recompute", "added to its input", {rand({6})}, beside);
  add("recompute", "many elements", {rand({34567})}, alone);
  add("recompute", "infinities and NaN", {fixed({4}, {kInfinity, 0.5, kNan, -kInfinity})}, alone).nonfinite =
      true;
  add_extremes("recompute", {rand({3, 7})}, alone);
  add_error("recompute", "integers", {integers({3}, 0, 5)}, alone, "[recompute] expected a float tensor");
}

}  // namespace simsmoe::testing
