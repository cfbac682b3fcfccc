#include "ops/layout.hpp"

#include "tests/ops/values.hpp"

// Which element comes from where.

using namespace simsmoe;
using namespace simsmoe::testing;

namespace {

Variable counted(Shape shape) { return leaf(counting(shape), shape); }

}  // namespace

TEST_CASE("reshape with a size of -1") {
  const Variable x = counted({2, 6});
  CHECK(ops::reshape(x, {3, -1}).shape() == Shape{3, 4});
  CHECK(ops::reshape(x, {-1, 2, 3}).shape() == Shape{2, 2, 3});
  CHECK(ops::reshape(x, {-1}).shape() == Shape{12});
  CHECK(ops::reshape(x, {12, -1}).shape() == Shape{12, 1});
  CHECK(ops::reshape(x, Shape{4, 3}).shape() == Shape{4, 3});
  CHECK(ops::reshape(counted({1}), {}).shape() == Shape{});
  CHECK(ops::reshape(counted({}), {-1}).shape() == Shape{1});
  CHECK(values_of(ops::reshape(x, {3, -1})) == counting({2, 6}));
}

TEST_CASE("slice as in Python") {
  const Variable x = counted({5});
  CHECK(values_of(ops::slice(x, 0, -2)) == Doubles{3, 4});
  CHECK(values_of(ops::slice(x, 0, 1)) == Doubles{1, 2, 3, 4});
  CHECK(values_of(ops::slice(x, 0, 1, -1)) == Doubles{1, 2, 3});
  CHECK(values_of(ops::slice(x, 0, -4, -2)) == Doubles{1, 2});
  CHECK(values_of(ops::slice(x, 0, -5, 5)) == Doubles{0, 1, 2, 3, 4});
  CHECK(values_of(ops::slice(x, 0, 5)).empty());
  CHECK(values_of(ops::slice(x, 0, -1, 4)).empty());
  CHECK(gradient([&] { return ops::slice(x, 0, -3, -1); }, x, {10, 20}) == Doubles{0, 0, 10, 20, 0});
  CHECK(values_of(ops::slice(counted({2, 3}), -1, -1)) == Doubles{2, 5});
}

TEST_CASE("split, chunk and stack") {
  const Variable x = counted({2, 4});
  const Variables parts = ops::split(x, {1, 0, 3}, 1);
  REQUIRE(parts.size() == 3);
  CHECK(values_of(parts[0]) == Doubles{0, 4});
  CHECK(parts[1].shape() == Shape{2, 0});
  CHECK(values_of(parts[2]) == Doubles{1, 2, 3, 5, 6, 7});
  const Variables halves = ops::chunk(x, 2, -1);
  REQUIRE(halves.size() == 2);
  CHECK(values_of(halves[0]) == Doubles{0, 1, 4, 5});
  CHECK(values_of(halves[1]) == Doubles{2, 3, 6, 7});
  CHECK(ops::split(counted({0}), {}, 0).empty());

  const Variable a = leaf({1, 2}), b = leaf({3, 4});
  CHECK(ops::stack({a, b}).shape() == Shape{2, 2});
  CHECK(values_of(ops::stack({a, b})) == Doubles{1, 2, 3, 4});
  CHECK(values_of(ops::stack({a, b}, 1)) == Doubles{1, 3, 2, 4});
  CHECK(values_of(ops::stack({a, b}, -1)) == Doubles{1, 3, 2, 4});
  CHECK(values_of(ops::stack({a, b}, -2)) == Doubles{1, 2, 3, 4});
  // Integers move too; they have no gradients.
  const Variable whole(longs({5, 6}, {2}));
  CHECK(ops::stack({whole, whole}, 1).value().to_vector<std::int64_t>() == Longs{5, 5, 6, 6});
}

TEST_CASE("with_diagonal") {
  const Variable x = counted({2, 2, 2});
  const auto replaced = [&] { return ops::with_diagonal(x, -1.0); };
  CHECK(values_of(replaced()) == Doubles{-1, 1, 2, -1, -1, 5, 6, -1});
  CHECK(gradient(replaced, x, {1, 2, 3, 4, 5, 6, 7, 8}) == Doubles{0, 2, 3, 0, 0, 6, 7, 0});
  CHECK(values_of(ops::with_diagonal(leaf({kNaN, 1, 2, kNaN}, {2, 2}), 0.0)) == Doubles{0, 1, 2, 0});
}
