#include "ops/loss.hpp"

#include "tests/ops/values.hpp"

// Every option of cross_entropy against its definition.

using namespace simsmoe;
using namespace simsmoe::testing;
using ops::CrossEntropyOptions;
using ops::Reduction;

namespace {

constexpr std::int64_t kRows = 6, kClasses = 4;

Doubles some_logits() {
  Doubles values = counting({kRows, kClasses});
  for (double& v : values) v = 3 * std::sin(v * v + 1.0);
  return values;
}

// The losses of the rows, and by what the mean divides.
struct Expected {
  Doubles losses;
  double weight = 0;
};

Expected by_definition(const Longs& targets, std::int64_t ignored, double smoothing, const Doubles& weights) {
  const Doubles x = some_logits();
  Expected expected;
  for (std::size_t r = 0; r < targets.size(); ++r) {
    expected.losses.push_back(0.0);
    if (targets[r] == ignored) continue;
    double sum = 0;
    for (std::size_t j = 0; j < kClasses; ++j) sum += std::exp(x[r * kClasses + j]);
    const auto target = static_cast<std::size_t>(targets[r]);
    for (std::size_t j = 0; j < kClasses; ++j) {
      const double share = smoothing / kClasses + (j == target ? 1 - smoothing : 0);
      expected.losses.back() -= share * weights[j] * (x[r * kClasses + j] - std::log(sum));
    }
    expected.weight += weights[target];
  }
  return expected;
}

}  // namespace

TEST_CASE("cross_entropy: every reduction, smoothing and weight is what the definition says") {
  const Variable logits = leaf(some_logits(), {kRows, kClasses});
  const Longs targets = {3, 0, 2, 2, 1, 0};
  const Doubles ones(kClasses, 1.0), uneven = {0.5, 2.0, 0.0, 1.25};
  for (const std::int64_t ignored : {std::int64_t{0}, std::int64_t{-100}, ops::kNoIgnoreIndex})
    for (const double smoothing : {0.0, 0.2, 1.0})
      for (const bool weighted : {false, true}) {
        const Expected expected = by_definition(targets, ignored, smoothing, weighted ? uneven : ones);
        CrossEntropyOptions options{.ignore_index = ignored, .label_smoothing = smoothing};
        if (weighted) options.class_weights = tensor(uneven);
        const auto loss = [&](Reduction reduction) {
          options.reduction = reduction;
          return values_of(ops::cross_entropy(logits, longs(targets, {kRows}), options));
        };
        double total = 0;
        const Doubles each = loss(Reduction::none);
        REQUIRE(each.size() == kRows);
        for (std::size_t r = 0; r < each.size(); ++r) {
          CHECK(each[r] == doctest::Approx(expected.losses[r]).epsilon(1e-13));
          total += expected.losses[r];
        }
        CHECK(loss(Reduction::sum).front() == doctest::Approx(total).epsilon(1e-13));
        CHECK(loss(Reduction::mean).front() == doctest::Approx(total / expected.weight).epsilon(1e-13));
      }
}

TEST_CASE("cross_entropy of [B, T, V] is that of its rows") {
  const Variable rows = leaf(some_logits(), {kRows, kClasses}), cube = leaf(some_logits(), {2, 3, kClasses});
  const Tensor flat = longs({3, 0, 2, 2, 1, 0}, {kRows}), square = flat.view({2, 3});
  CHECK(values_of(ops::cross_entropy(rows, flat)) == values_of(ops::cross_entropy(cube, square)));
  CHECK(gradient([&] { return ops::cross_entropy(rows, flat); }, rows) ==
        gradient([&] { return ops::cross_entropy(cube, square); }, cube));
  const CrossEntropyOptions none{.reduction = Reduction::none};
  CHECK(ops::cross_entropy(cube, square, none).shape() == Shape{2, 3});
  CHECK(ops::cross_entropy(rows, flat, none).shape() == Shape{kRows});
  CHECK(ops::cross_entropy(leaf({1, 2}), longs({1}, {}), none).shape() == Shape{});
}

TEST_CASE("cross_entropy of rows that are all ignored") {
  const Variable logits = leaf(some_logits(), {kRows, kClasses});
  const Tensor targets = Tensor::full({kRows}, -1.0, DType::i64);
  const auto loss = [&](Reduction reduction) {
    return ops::cross_entropy(logits, targets, {.ignore_index = -1, .reduction = reduction});
  };
  CHECK(loss(Reduction::sum).value().item() == 0.0);
  CHECK(values_of(loss(Reduction::none)) == Doubles(kRows, 0.0));
  CHECK_THROWS_WITH_AS(loss(Reduction::mean), doctest::Contains("expected a row that counts, got 6 rows"),
                       Error);
  CHECK(gradient([&] { return loss(Reduction::sum); }, logits) == Doubles(kRows * kClasses, 0.0));
}

TEST_CASE("cross_entropy with an ignore index is the same with options") {
  const Variable logits = leaf(some_logits(), {kRows, kClasses});
  const Tensor targets = longs({3, 0, 2, -7, 1, 0}, {kRows});
  CHECK(values_of(ops::cross_entropy(logits, targets, -7)) ==
        values_of(ops::cross_entropy(logits, targets, {.ignore_index = -7})));
}

TEST_CASE("cross_entropy: a sure model keeps the digits of what is left to learn") {
  const Variable logits = leaf({30, 0, 0}, {1, 3}, DType::f32);
  const Doubles slope = gradient([&] { return ops::cross_entropy(logits, longs({0}, {1})); }, logits);
  CHECK(slope[1] == doctest::Approx(std::exp(-30.0)).epsilon(1e-5));
  const Tensor weights = tensor({0.5, 1, 1}, {3}, DType::f32);
  const auto halved = [&] {
    return ops::cross_entropy(logits, longs({0}, {1}),
                              {.reduction = Reduction::sum, .class_weights = weights});
  };
  CHECK(gradient(halved, logits)[1] == doctest::Approx(0.5 * std::exp(-30.0)).epsilon(1e-5));
}
