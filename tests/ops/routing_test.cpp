#include "ops/routing.hpp"

#include <doctest/doctest.h>

// What the gradient checks cannot see: the integers of a plan.

using namespace simsmoe;

namespace {

using Ints = std::vector<std::int32_t>;
using Longs = std::vector<std::int64_t>;
using Floats = std::vector<float>;

Tensor experts(const Ints& values, Shape shape) { return Tensor::from(values, shape); }

}  // namespace

TEST_CASE("expert_histogram counts, and skips what was dropped") {
  CHECK(ops::expert_histogram(experts({2, 0, -1, 2, 2, -1}, {3, 2}), 4).to_vector<std::int64_t>() ==
        Longs{1, 0, 3, 0});
  CHECK(ops::expert_histogram(experts({}, {0, 2}), 2).to_vector<std::int64_t>() == Longs{0, 0});
  CHECK(ops::expert_histogram(experts({-1}, {1}), 1).to_vector<std::int64_t>() == Longs{0});
}

TEST_CASE("stable_partition sorts copies by expert, in the order of their numbers") {
  const ops::Partition plan = ops::stable_partition(experts({2, 0, -1, 2, 0, 2, -1, -1}, {4, 2}), 4);
  CHECK(plan.offsets.to_vector<std::int64_t>() == Longs{0, 2, 2, 5, 5});
  CHECK(plan.order.to_vector<std::int32_t>() == Ints{1, 4, 0, 3, 5});
  CHECK(plan.position.to_vector<std::int32_t>() == Ints{2, 0, -1, 3, 1, 4, -1, -1});
  CHECK(plan.position.shape() == Shape{4, 2});
}

TEST_CASE("stable_partition of nothing, and of what is dropped") {
  const ops::Partition none = ops::stable_partition(experts({}, {0, 2}), 3);
  CHECK(none.offsets.to_vector<std::int64_t>() == Longs{0, 0, 0, 0});
  CHECK(none.order.shape() == Shape{0});
  CHECK(none.position.shape() == Shape{0, 2});
  const ops::Partition dropped = ops::stable_partition(experts({-1, -1}, {2, 1}), 2);
  CHECK(dropped.offsets.to_vector<std::int64_t>() == Longs{0, 0, 0});
  CHECK(dropped.order.shape() == Shape{0});
  CHECK(dropped.position.to_vector<std::int32_t>() == Ints{-1, -1});
}

TEST_CASE("combining what was gathered, with weights that sum to 1, gives the tokens back") {
  const Tensor x = Tensor::from(Floats{1, 2, 3, 4, 5, 6}, {3, 2});
  const ops::Partition plan = ops::stable_partition(experts({1, 0, 0, 2, 2, 1}, {3, 2}), 3);
  const Variable h = ops::gather_tokens(Variable(x), plan);
  CHECK(h.value().to_vector<float>() == Floats{1, 2, 3, 4, 1, 2, 5, 6, 3, 4, 5, 6});
  const Variable weights(Tensor::from(Floats{0.25f, 0.75f, 0.5f, 0.5f, 1, 0}, {3, 2}));
  CHECK(ops::combine_tokens(h, weights, plan).value().to_vector<float>() == x.to_vector<float>());
}

TEST_CASE("a dropped copy contributes nothing, and its weight has no gradient") {
  const ops::Partition plan = ops::stable_partition(experts({0, -1, -1, -1}, {2, 2}), 1);
  const Variable h(Tensor::from(Floats{3, 4}, {1, 2}), true);
  const Variable weights(Tensor::from(Floats{0.5f, 9, 9, 9}, {2, 2}), true);
  Tape tape;
  const Variable y = ops::combine_tokens(h, weights, plan);
  CHECK(y.value().to_vector<float>() == Floats{1.5f, 2, 0, 0});
  tape.backward(y, Tensor::full({2, 2}, 1.0, DType::f32));
  CHECK(weights.grad().to_vector<float>() == Floats{7, 0, 0, 0});
  CHECK(h.grad().to_vector<float>() == Floats{0.5f, 0.5f});
}

TEST_CASE("routing explains misuse") {
  using doctest::Contains;
  CHECK_THROWS_WITH_AS(ops::expert_histogram(experts({0, 3}, {2}), 3),
                       Contains("[expert_histogram] experts[1] = 3 is outside [-1, 3)"), Error);
  CHECK_THROWS_WITH_AS(ops::expert_histogram(experts({0}, {1}), 0), Contains("at least one expert"), Error);
  CHECK_THROWS_WITH_AS(ops::expert_histogram(Tensor::zeros({2}, DType::i64), 3),
                       Contains("expected experts i32"), Error);
  CHECK_THROWS_WITH_AS(ops::stable_partition(experts({0}, {1}), 2), Contains("expected experts [N, K]"),
                       Error);
}
