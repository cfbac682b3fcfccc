// Who is chosen, with which weight, and that the router learns from the task.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/binary.hpp"
#include "ops/reduce.hpp"
#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

constexpr SelectionOrder kOrders[] = {SelectionOrder::topk_softmax, SelectionOrder::softmax_topk};

double l1_norm(const Tensor& x) {
  double sum = 0.0;
  for (const double value : x.to_vector<double>()) sum += std::abs(value);
  return sum;
}

}  // namespace

TEST_CASE("select_topk: choices and weights follow the equations for every k") {
  const std::int64_t n = 9, e = 5;
  const Variable logits(draw({n, e}, "logits", 2.0));
  const std::vector<double> g = logits.value().to_vector<double>();
  for (const SelectionOrder order : kOrders)
    for (std::int64_t k = 1; k <= e; ++k) {
      CAPTURE(k);
      const RouterOutput route = select_topk(logits, {k, order});
      REQUIRE(route.experts.shape() == Shape{n, k});
      REQUIRE(route.weights.shape() == Shape{n, k});
      const auto experts = route.experts.host<const std::int32_t>();
      const auto weights = route.weights.value().host<const double>();
      for (std::int64_t t = 0; t < n; ++t) {
        const double* row = g.data() + t * e;
        std::vector<std::int32_t> best(static_cast<std::size_t>(e));
        std::iota(best.begin(), best.end(), 0);
        std::ranges::stable_sort(best, [&](auto a, auto b) { return row[a] > row[b]; });
        double over_all = 0.0, over_kept = 0.0;
        for (std::int64_t j = 0; j < e; ++j) {
          const double term = std::exp(row[best[static_cast<std::size_t>(j)]]);
          over_all += term;
          if (j < k) over_kept += term;
        }
        const bool renormalised = order == SelectionOrder::topk_softmax;
        for (std::int64_t j = 0; j < k; ++j) {
          const std::size_t at = static_cast<std::size_t>(t * k + j);
          const std::int32_t expert = best[static_cast<std::size_t>(j)];
          CHECK(experts[at] == expert);
          CHECK(
              weights[at] ==
              doctest::Approx(std::exp(row[expert]) / (renormalised ? over_kept : over_all)).epsilon(1e-12));
        }
      }
    }
}

TEST_CASE("select_topk: ties go to the lowest expert, also where softmax rounds to a tie") {
  for (const SelectionOrder order : kOrders) {
    const Variable equal(Tensor::from(std::vector<float>{1, 3, 3, 3, 0, 0, 0, 0}, {2, 4}));
    const RouterOutput route = select_topk(equal, {2, order});
    CHECK(route.experts.to_vector<int>() == std::vector<int>{1, 2, 0, 1});
    // exp(-200) and exp(-300) are both 0 in f32
    const Variable tiny(Tensor::from(std::vector<float>{-300.0f, 0.0f, -200.0f}, {1, 3}));
    CHECK(select_topk(tiny, {2, order}).experts.to_vector<int>() == std::vector<int>{1, 2});
  }
}

TEST_CASE("smoe: logits are x W^T + b in the dtype of the parameters") {
  SmallLayer small(small_options());
  nn::ForwardContext ctx = training_context();
  const Variable x(draw({3, SmallLayer::kDim}, "x"));
  const RouterOutput route = small.layer.router().route(x, small.layer.experts(), ctx);
  const auto xs = x.value().to_vector<double>(), logits = route.logits.value().to_vector<double>();
  const auto w = small.parameter("moe.router.weight").value().to_vector<double>();
  const auto b = small.parameter("moe.router.bias").value().to_vector<double>();
  for (std::size_t t = 0; t < 3; ++t)
    for (std::size_t e = 0; e < 4; ++e) {
      double expected = b[e];
      for (std::size_t d = 0; d < 5; ++d) expected += xs[t * 5 + d] * w[e * 5 + d];
      CHECK(logits[t * 4 + e] == doctest::Approx(expected).epsilon(1e-12));
    }

  SmallLayer mixed(small_options(), DType::f32);
  ctx.compute_dtype = DType::bf16;
  const RouterOutput scores =
      mixed.layer.router().route(Variable(x.value().to(DType::bf16)), mixed.layer.experts(), ctx);
  CHECK(scores.logits.dtype() == DType::f32);
  CHECK(scores.weights.dtype() == DType::f32);
}

TEST_CASE("the task alone gives the router a gradient, for every k and both orders") {
  for (const SelectionOrder order : kOrders)
    for (std::int64_t k = 1; k <= 4; ++k) {
      CAPTURE(nn::name_of(order));
      CAPTURE(k);
      MoeOptions options = small_options();
      options.k = k;
      options.router_order = order;
      options.balance_weight = 0.0;
      SmallLayer small(options);
      nn::ForwardContext ctx = training_context();
      Tape tape;
      const Variable y = small.layer.forward(Variable(draw({2, 3, SmallLayer::kDim}, "x")), ctx);
      tape.backward(ops::sum(ops::mul(y, Variable(draw(y.shape(), "direction")))));
      CHECK(ctx.losses.terms().empty());
      for (const char* name : {"moe.router.weight", "moe.router.bias"}) {
        const Variable parameter = small.parameter(name);
        REQUIRE(parameter.grad().defined());
        CHECK(l1_norm(parameter.grad()) > 1e-3);
      }
    }
}

}  // namespace simsmoe::moe
