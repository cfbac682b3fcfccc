// Properties of the plan: sorted, stable, invertible, nothing lost but what the capacity drops.
#include "moe/dispatch_plan.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "engine/philox.hpp"

namespace simsmoe::moe {

namespace {

// Draws a choice in [-1, experts); -1 only when `with_gaps`.
Tensor draw_experts(std::int64_t n, std::int64_t k, std::int64_t experts, bool with_gaps) {
  std::vector<std::int32_t> choices(static_cast<std::size_t>(n * k));
  const RandomKey key{5, stream_of("experts")};
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const auto range = static_cast<std::uint32_t>(experts + (with_gaps ? 1 : 0));
    choices[i] = static_cast<std::int32_t>(random_bits(key, 0, i) % range) - (with_gaps ? 1 : 0);
  }
  return Tensor::from(choices, {n, k});
}

// Checks every property of the partition of `experts` (what the plan kept).
void check_partition(const ops::Partition& partition, const std::vector<std::int32_t>& experts,
                     std::int64_t num_experts) {
  const auto offsets = partition.offsets.to_vector<std::int64_t>();
  const auto order = partition.order.to_vector<std::int64_t>();
  const auto position = partition.position.to_vector<std::int64_t>();
  REQUIRE(offsets.size() == static_cast<std::size_t>(num_experts + 1));
  REQUIRE(position.size() == experts.size());
  const auto kept = std::ranges::count_if(experts, [](std::int32_t e) { return e >= 0; });
  CHECK(offsets.front() == 0);
  CHECK(offsets.back() == kept);
  REQUIRE(order.size() == static_cast<std::size_t>(kept));
  for (std::int64_t e = 0; e < num_experts; ++e) {
    const auto at = static_cast<std::size_t>(e);
    CHECK(offsets[at] <= offsets[at + 1]);
    for (std::int64_t row = offsets[at]; row < offsets[at + 1]; ++row) {
      const auto copy = static_cast<std::size_t>(order[static_cast<std::size_t>(row)]);
      CHECK(experts[copy] == e);     // sorted by expert
      CHECK(position[copy] == row);  // invertible
      if (row > offsets[at])
        CHECK(order[static_cast<std::size_t>(row - 1)] < order[static_cast<std::size_t>(row)]);  // stable
    }
  }
  for (std::size_t copy = 0; copy < experts.size(); ++copy)
    if (experts[copy] < 0) CHECK(position[copy] == -1);
}

}  // namespace

TEST_CASE("plan: sorted, stable and invertible at many sizes") {
  for (const bool with_gaps : {false, true})
    for (const std::int64_t n : {0, 1, 2, 17, 300})
      for (const std::int64_t k : {1, 2, 3})
        for (const std::int64_t e : {1, 5, 64}) {
          CAPTURE(n);
          CAPTURE(k);
          CAPTURE(e);
          const Tensor experts = draw_experts(n, k, e, with_gaps);
          const DispatchPlan plan = make_plan(experts, e);
          check_partition(plan.partition, experts.to_vector<std::int32_t>(), e);
          CHECK(plan.dropped == 0);
          const auto counts = plan.counts.to_vector<std::int64_t>();
          const auto offsets = plan.partition.offsets.to_vector<std::int64_t>();
          for (std::size_t i = 0; i < counts.size(); ++i) CHECK(counts[i] == offsets[i + 1] - offsets[i]);
        }
}

TEST_CASE("capacity: the factor is the decimal number that was written, however many tokens there are") {
  CHECK(capacity(0.55, 100, 1) == 55);
  CHECK(capacity(0.55, 101, 1) == 56);
  CHECK(capacity(1.1, 10, 1) == 10);  // never more than all
  CHECK(capacity(1e300, 7, 3) == 7);
  CHECK(capacity(1e-300, 7, 3) == 1);
  CHECK(capacity(2.0, 0, 4) == 0);
  CHECK(capacity(5e-324, 1, 1) == 1);
  // ceil(hundredths * copies / (100 E)) in whole numbers
  for (std::int64_t hundredths = 1; hundredths <= 260; ++hundredths)
    for (const std::int64_t experts : {1, 3, 8, 64, 65536})
      for (const std::int64_t copies : {1L, 7L, 100L, 3000L, 98304L, 100'000'000'000'000L}) {
        CAPTURE(hundredths);
        CAPTURE(experts);
        CAPTURE(copies);
        const double factor = std::stod(fmt::format("{}.{:02}", hundredths / 100, hundredths % 100));
        const std::int64_t room = 100 * experts, exact = (hundredths * copies + room - 1) / room;
        CHECK(capacity(factor, copies, experts) == std::min(exact, copies));
      }
}

TEST_CASE("capacity: first come, first served in flat order, what overflows is dropped and counted") {
  // C = ceil(0.75 * 2 * 4 / 2) = 3
  const Tensor experts = Tensor::from(std::vector<std::int32_t>{0, 1, 0, 1, 0, 1, 0, -1}, {4, 2});
  const DispatchPlan plan = make_plan(experts, 2, 0.75);
  CHECK(plan.dropped == 1);
  CHECK(plan.counts.to_vector<int>() == std::vector<int>{4, 3});  // before dropping
  check_partition(plan.partition, {0, 1, 0, 1, 0, 1, -1, -1}, 2);
  CHECK(experts.to_vector<int>()[6] == 0);  // the router's choices are left alone

  const DispatchPlan tight = make_plan(experts, 2, 0.01);  // C = ceil(0.04) = 1
  CHECK(tight.dropped == 5);
  check_partition(tight.partition, {0, 1, -1, -1, -1, -1, -1, -1}, 2);

  for (const double factor : {1.0, 1e300}) {  // C = 4 holds all
    const DispatchPlan loose = make_plan(experts, 2, factor);
    CHECK(loose.dropped == 0);
    check_partition(loose.partition, experts.to_vector<std::int32_t>(), 2);
  }
}

TEST_CASE("capacity: never exceeded, and no token is dropped while there is room") {
  const std::int64_t n = 200, k = 2, e = 8;
  const Tensor experts = draw_experts(n, k, e, false);
  for (const double factor : {0.3, 0.8, 1.0, 1.25}) {
    const DispatchPlan plan = make_plan(experts, e, factor);
    const auto capacity = static_cast<std::int64_t>(std::ceil(factor * static_cast<double>(n * k) / e));
    const auto counts = plan.counts.to_vector<std::int64_t>();
    const auto offsets = plan.partition.offsets.to_vector<std::int64_t>();
    for (std::size_t i = 0; i < counts.size(); ++i)
      CHECK(offsets[i + 1] - offsets[i] == std::min(counts[i], capacity));
    CHECK(plan.dropped == n * k - offsets.back());
  }
}

TEST_CASE("drop everything, all on one expert, fewer tokens than experts") {
  const DispatchPlan nothing = make_plan(Tensor::from(std::vector<std::int32_t>{-1, -1, -1, -1}, {2, 2}), 3);
  check_partition(nothing.partition, {-1, -1, -1, -1}, 3);
  const DispatchPlan one = make_plan(Tensor::from(std::vector<std::int32_t>{2, 2, 2}, {3, 1}), 4);
  CHECK(one.partition.offsets.to_vector<int>() == std::vector<int>{0, 0, 0, 3, 3});
  const DispatchPlan few = make_plan(Tensor::from(std::vector<std::int32_t>{7, 3}, {1, 2}), 9);
  CHECK(few.partition.order.to_vector<int>() == std::vector<int>{1, 0});
}

}  // namespace simsmoe::moe
