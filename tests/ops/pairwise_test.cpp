#include "ops/pairwise.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/binary.hpp"

using namespace simsmoe;

namespace {

Tensor square(const std::vector<double>& values) {
  const auto n = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(values.size()))));
  return Tensor::from(values, {n, n});
}

double median(const std::vector<double>& values) { return ops::median_above_diagonal(square(values)).item(); }

}  // namespace

TEST_CASE(
    "squared distances: of equal rows exactly 0, symmetric to the bit, the same wherever the rows are") {
  std::vector<float> rows;
  for (int i = 0; i < 40; ++i) rows.push_back(static_cast<float>(std::sin(i * i)) * 1e3f);
  for (int i = 0; i < 10; ++i) rows.push_back(rows[static_cast<std::size_t>(i)]);  // row 4 is row 0
  const std::vector<float> d =
      ops::squared_distances(Variable(Tensor::from(rows, {5, 10}))).value().to_vector<float>();
  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t j = 0; j < 5; ++j) {
      CHECK(d[i * 5 + j] == d[j * 5 + i]);
      CHECK((d[i * 5 + j] == 0.0f) == (i == j || (i + j == 4 && i % 4 == 0)));
      CHECK(d[i * 5 + 0] == d[i * 5 + 4]);
    }
  double by_hand = 0.0;
  for (std::size_t c = 0; c < 10; ++c)
    by_hand += std::pow(static_cast<double>(rows[10 + c]) - rows[20 + c], 2);
  CHECK(d[1 * 5 + 2] == doctest::Approx(by_hand).epsilon(1e-6));
}

TEST_CASE("median above the diagonal: the lower one of what is above 0, of i < j alone") {
  CHECK(median({9, 3, 9, 9}) == 3.0);
  CHECK(median({9, 5, 1, 9, 9, 4, 9, 9, 9}) == 4.0);                       // 5, 1, 4
  CHECK(median({9, 5, 1, 7, 9, 9, 4, 2, 9, 9, 9, 3, 9, 9, 9, 9}) == 3.0);  // 5 1 7 4 2 3: of six the third
  CHECK(median({1e-17, 5, 0, 1e-17, 1e-17, 4, 1e-17, 1e-17, 1e-17}) ==
        4.0);                                           // 0 is none, nor are diagonal and below
  CHECK(median({9, -5, 0, 9, 9, -4, 9, 9, 9}) == 1.0);  // nothing is above 0
  CHECK(median({9}) == 1.0);
  CHECK(median({}) == 1.0);
  CHECK(ops::median_above_diagonal(square({9, 3, 9, 9}).to(DType::f32)).dtype() == DType::f32);
  CHECK_THROWS_WITH_AS(ops::median_above_diagonal(Tensor::zeros({2, 3}, DType::f64)),
                       doctest::Contains("[median_above_diagonal] expected a square matrix"), Error);
  CHECK_THROWS_WITH_AS(ops::median_above_diagonal({}),
                       doctest::Contains("[median_above_diagonal] expected a float"), Error);
}

TEST_CASE("squared distances: gradients near the end of the range do not become NaN") {
  const Variable x(Tensor::from<float>({1e-30f, 3e-30f, 3e-30f}, {3, 1}), true);
  Tape tape;
  const Variable y = ops::squared_distances(x);
  tape.backward(y, Tensor::full({3, 3}, 1e38, DType::f32));
  const std::vector<double> dx = x.grad().to_vector<double>();  // 2 * 2e38 * the differences
  CHECK(dx[0] == doctest::Approx(-1.6e9));
  CHECK(dx[1] == doctest::Approx(8e8));
  CHECK(dx[2] == dx[1]);
}
