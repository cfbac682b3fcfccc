#include "ops/matmul.hpp"

#include "tests/ops/values.hpp"

// Products with broadcast batches and with vectors, against loops.

using namespace simsmoe;
using namespace simsmoe::testing;

namespace {

Variable some(Shape shape, double phase) {
  Doubles values = counting(shape);
  for (double& v : values) v = std::sin(v * v + phase);
  return leaf(values, shape);
}

// Element (row, column) of matrix `batch` of those that the leading axes of x broadcast to.
double element(const Variable& x, const Shape& batches, std::int64_t batch, std::int64_t row,
               std::int64_t column, bool transposed) {
  std::int64_t matrix = 0, stride = 1;
  for (int axis = 1; axis <= batches.rank(); ++axis) {
    const int own = -axis - 2;
    const std::int64_t size = axis + 2 <= x.rank() ? x.size(own) : 1;
    if (size != 1) matrix += batch % batches[-axis] * stride;
    stride *= size;
    batch /= batches[-axis];
  }
  if (transposed) std::swap(row, column);
  return values_of(x)[static_cast<std::size_t>((matrix * x.size(-2) + row) * x.size(-1) + column)];
}

void check_product(const Variable& a, const Variable& b, const Shape& batches, bool ta, bool tb) {
  const Variable y = ops::matmul(a, b, {ta, tb});
  const std::int64_t m = a.size(ta ? -1 : -2), k = a.size(ta ? -2 : -1), n = b.size(tb ? -2 : -1);
  REQUIRE(y.shape() == batches.append(m).append(n));
  const Doubles values = values_of(y);
  for (std::int64_t i = 0; i < y.value().numel(); ++i) {
    const std::int64_t batch = i / (m * n), row = i / n % m, column = i % n;
    double sum = 0;
    for (std::int64_t j = 0; j < k; ++j)
      sum += element(a, batches, batch, row, j, ta) * element(b, batches, batch, j, column, tb);
    CHECK(values[static_cast<std::size_t>(i)] == doctest::Approx(sum).epsilon(1e-12));
  }
}

}  // namespace

TEST_CASE("matmul broadcasts leading axes as NumPy does") {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      const auto check = [&](Shape a, Shape b, const Shape& batches) {
        a = ta ? a.append(4).append(3) : a.append(3).append(4);
        b = tb ? b.append(2).append(4) : b.append(4).append(2);
        check_product(some(a, 1), some(b, 2), batches, ta, tb);
      };
      check({}, {}, {});
      check({5}, {5}, {5});
      check({5}, {}, {5});
      check({}, {5}, {5});
      check({1}, {5}, {5});
      check({2, 1}, {5}, {2, 5});
      check({5}, {2, 1}, {2, 5});
      check({2, 1, 3}, {1, 4, 1}, {2, 4, 3});
      check({2, 0}, {2, 1}, {2, 0});
    }
}

TEST_CASE("matmul takes a vector for a row on the left and for a column on the right") {
  const Variable v = leaf({1, 10}), w = leaf({2, 3}), matrix = leaf({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(ops::matmul(v, w).shape() == Shape{});
  CHECK(ops::matmul(v, w).value().item() == 32);
  CHECK(ops::matmul(v, matrix).shape() == Shape{3});
  CHECK(values_of(ops::matmul(v, matrix)) == Doubles{41, 52, 63});
  CHECK(values_of(ops::matmul(matrix, leaf({1, 0, 10}))) == Doubles{31, 64});
  CHECK(ops::matmul(some({5, 2, 3}, 1), leaf({1, 0, 10})).shape() == Shape{5, 2});
  CHECK(ops::matmul(v, some({5, 4, 2, 3}, 1)).shape() == Shape{5, 4, 3});
  // A vector is its own transpose.
  CHECK(values_of(ops::matmul(v, matrix, {.transpose_a = true})) == Doubles{41, 52, 63});
  CHECK(values_of(ops::matmul(matrix, leaf({1, 0, 10}), {.transpose_b = true})) == Doubles{31, 64});
  CHECK(values_of(ops::matmul(matrix, v, {.transpose_a = true})) == Doubles{41, 52, 63});
  CHECK(ops::matmul(leaf({}, {0}), leaf({}, {0})).value().item() == 0);
}

TEST_CASE("the gradient of what batches share is their sum") {
  const Variable shared = leaf({1, 2}, {1, 1, 2}), each = leaf({3, 4, 5, 6, 7, 8}, {3, 2, 1});
  const auto product = [&] { return ops::matmul(shared, each); };
  CHECK(values_of(product()) == Doubles{11, 17, 23});
  CHECK(gradient(product, shared, {1, 10, 100}) == Doubles{753, 864});
  CHECK(gradient(product, each, {1, 10, 100}) == Doubles{1, 2, 10, 20, 100, 200});
}
