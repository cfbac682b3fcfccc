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

TEST_CASE("log_softmax: gradients whose sum leaves the range of the type") {
  const auto at = [](DType dtype, double large) {
    const Variable x = leaf({1, 1, 1, 1, 1}, {1, 5}, dtype);
    return gradient([&] { return ops::log_softmax(x); }, x, {large, large, large, large, -large});
  };
  for (const auto& [dtype, large] : {std::pair{DType::f32, 2e38}, std::pair{DType::f64, 5e307}}) {
    const Doubles dx = at(dtype, large);  // dy - 3 / 5 large
    for (std::size_t i = 0; i < 5; ++i)
      CHECK(dx[i] / large == doctest::Approx(i < 4 ? 0.4 : -1.6).epsilon(1e-5));
  }
}
