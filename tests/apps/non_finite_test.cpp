// The hunt for the first tensor that is not finite: parameters, then values in the order of the ops, then gradients.

#include "apps/non_finite.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "nn/init.hpp"
#include "ops/binary.hpp"
#include "ops/reduce.hpp"
#include "ops/unary.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

struct Store {
  nn::ParameterStore store{1, DType::f64};
  Variable w = nn::Scope(store).parameter("w", {3}, nn::init::ones());
  Variable b = nn::Scope(store).parameter("b", {3}, nn::init::ones());
};

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Three ops, of which one multiplies by infinity.
std::string found_in(const Store& s, int bad) {
  const auto factor = [bad](int op) { return op == bad ? kInfinity : 2.0; };
  return first_non_finite(s.store, [&] {
    const Variable first = ops::scale(s.w, factor(0)), second = ops::scale(first, factor(1));
    return ops::scale(ops::sum(ops::mul(second, s.b)), factor(4));
  });
}

}  // namespace

TEST_CASE("the hunt names the op whose output is the first that is not finite, whichever it is") {
  const Store s;
  CHECK(found_in(s, -1).empty());
  CHECK(found_in(s, 0) == "the output f64 [3] of op 0 'scale', which reads parameter w");
  CHECK(found_in(s, 1) == "the output f64 [3] of op 1 'scale', after parameter w");
  CHECK(found_in(s, 4) == "the output f64 [] of op 4 'scale', after parameter b");
  CHECK_FALSE(s.w.grad().defined());
}

TEST_CASE("the hunt looks at parameters before values, and at values before gradients") {
  const Store s;
  s.b.value().fill(kInfinity);
  CHECK(found_in(s, 0) == "parameter b");
  CHECK(first_non_finite(s.store) == "parameter b");
  s.b.value().fill(1.0);
  s.w.value().fill(0.0);
  const auto root = [&] { return ops::sum(ops::mul(ops::sqrt(s.w), s.b)); };  // with an infinite slope at 0
  CHECK(first_non_finite(s.store, root) ==
        "the gradient f64 [3] of parameter w in the backward pass of op 'sqrt'");
  CHECK_FALSE(s.w.grad().defined());
  CHECK(first_non_finite(s.store, [&] { return ops::scale(root(), kInfinity); }) !=
        "the gradient f64 [3] of parameter w in the backward pass of op 'sqrt'");
}
