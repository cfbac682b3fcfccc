#include "ops/softmax.hpp"

#include <doctest/doctest.h>

#include "tests/ops/values.hpp"
#include "tests/support/op_suite.hpp"

// What infinities mean to a sum of exponentials.

using namespace simsmoe;
using namespace simsmoe::testing;

TEST_CASE("logsumexp of infinities is their limit, with the gradient exp(x - lse)") {
  struct Row {
    Doubles x;
    double lse;
    Doubles dx;  // of a gradient of 2; PyTorch's
  };
  const Row rows[] = {
      {{-kInf, -kInf, -kInf}, -kInf, {kNaN, kNaN, kNaN}},
      {{kInf, 1, 2}, kInf, {kNaN, 0, 0}},
      {{1, kInf, -kInf}, kInf, {0, kNaN, 0}},
      {{kInf, 1, kInf}, kInf, {kNaN, 0, kNaN}},
      {{-kInf, 3, -kInf}, 3, {0, 2, 0}},
      {{kInf, kNaN, 2}, kNaN, {kNaN, kNaN, kNaN}},
      {{kNaN, -kInf, -kInf}, kNaN, {kNaN, kNaN, kNaN}},
      {{-kInf, -kInf, kNaN}, kNaN, {kNaN, kNaN, kNaN}},
      {{1, kNaN, 2}, kNaN, {kNaN, kNaN, kNaN}},
  };
  for (const Device device : suite_devices())
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16})
      for (const Row& row : rows) {
        CAPTURE(to_string(tensor(row.x)));
        const Variable x(tensor(row.x, {1, 3}, dtype).to(device), true);
        Tape tape;
        const Variable lse = ops::logsumexp(x);
        CHECK(same(values_of(lse), {row.lse}));
        tape.backward(lse, Tensor::full({1}, 2.0, dtype, device));
        CHECK(same(values_of(x.grad()), row.dx));
      }
}
