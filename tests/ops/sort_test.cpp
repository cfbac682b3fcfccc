#include "ops/sort.hpp"

#include "tests/ops/values.hpp"

// Order: ties, NaN, and the indices, which have no gradient to be checked by.

using namespace simsmoe;
using namespace simsmoe::testing;

namespace {

Ints indices_of(const Tensor& t) { return t.to_vector<std::int32_t>(); }

ops::TopK best(const Doubles& row, std::int64_t k) { return ops::topk(leaf(row, {1, std::ssize(row)}), k); }

}  // namespace

TEST_CASE("topk: descending, ties to the lower index") {
  CHECK(values_of(best({1, 3, 2, 3, 0}, 3).values) == Doubles{3, 3, 2});
  CHECK(indices_of(best({1, 3, 2, 3, 0}, 3).indices) == Ints{1, 3, 2});
  CHECK(indices_of(best({5, 5, 5, 5}, 4).indices) == Ints{0, 1, 2, 3});
  CHECK(indices_of(best({0.0, -0.0, 0.0}, 2).indices) == Ints{0, 1});
  CHECK(indices_of(best({1, 2, 3, 4, 5}, 5).indices) == Ints{4, 3, 2, 1, 0});
  CHECK(best({1, 2}, 1).indices.dtype() == DType::i32);
}

TEST_CASE("topk: NaN counts as smallest, behind -inf") {
  CHECK(indices_of(best({kNaN, 1, -kInf, kNaN, kInf, -1}, 6).indices) == Ints{4, 1, 5, 2, 0, 3});
  CHECK(indices_of(best({kNaN, kNaN, kNaN}, 2).indices) == Ints{0, 1});
  CHECK(best({kNaN, -kInf}, 1).values.value().item() == -kInf);
  CHECK(std::isnan(best({kNaN, kNaN}, 1).values.value().item()));
}

TEST_CASE("topk: the gradient goes back to where the value came from") {
  const Variable x = leaf({1, 3, 2, 5, 4, 6}, {2, 3});
  CHECK(gradient([&] { return ops::topk(x, 2).values; }, x, {10, 20, 30, 40}) ==
        Doubles{0, 10, 20, 40, 0, 30});
}

TEST_CASE("topk along another axis") {
  const Variable x = leaf({1, 6, 3, 4, 5, 2}, {3, 2});
  const ops::TopK rows = ops::topk(x, 2, 0);
  CHECK(rows.values.shape() == Shape{2, 2});
  CHECK(values_of(rows.values) == Doubles{5, 6, 3, 4});
  CHECK(rows.indices.shape() == Shape{2, 2});
  CHECK(indices_of(rows.indices) == Ints{2, 0, 1, 1});
  CHECK(gradient([&] { return ops::topk(x, 2, -2).values; }, x, {1, 2, 3, 4}) == Doubles{0, 2, 3, 4, 1, 0});
}

TEST_CASE("sort: both ways, stable, NaN last, consistent with topk") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Doubles row = {2, kNaN, -1, 2, kInf, -kInf, kNaN, -1};
    const Variable x = leaf(row, {8}, dtype);
    const ops::Sorted rising = ops::sort(x), falling = ops::sort(x, -1, true);
    CHECK(same(values_of(rising.values), {-kInf, -1, -1, 2, 2, kInf, kNaN, kNaN}));
    CHECK(indices_of(rising.indices) == Ints{5, 2, 7, 0, 3, 4, 1, 6});
    CHECK(same(values_of(falling.values), {kInf, 2, 2, -1, -1, -kInf, kNaN, kNaN}));
    CHECK(indices_of(falling.indices) == Ints{4, 0, 3, 2, 7, 5, 1, 6});
    CHECK(indices_of(falling.indices) == indices_of(ops::topk(x, 8).indices));
    CHECK(indices_of(ops::argsort(x.value())) == indices_of(rising.indices));
    CHECK(indices_of(ops::argsort(x.value(), 0, true)) == indices_of(falling.indices));
  }
}

TEST_CASE("sort along another axis, and its gradient") {
  const Variable x = leaf({3, 1, 1, 2, 2, 0}, {3, 2});
  const ops::Sorted rows = ops::sort(x, 0);
  CHECK(values_of(rows.values) == Doubles{1, 0, 2, 1, 3, 2});
  CHECK(indices_of(rows.indices) == Ints{1, 2, 2, 0, 0, 1});
  CHECK(rows.indices.dtype() == DType::i32);
  CHECK(gradient([&] { return ops::sort(x, 0).values; }, x, {1, 2, 3, 4, 5, 6}) == Doubles{5, 4, 1, 6, 3, 2});
}

TEST_CASE("argsort of integers, along any axis") {
  const std::int64_t large = std::int64_t{1} << 60;  // beyond what f64 tells apart
  CHECK(indices_of(ops::argsort(longs({large + 1, large, large + 1, -large}, {4}))) == Ints{3, 1, 0, 2});
  CHECK(indices_of(ops::argsort(longs({large + 1, large, large + 1, -large}, {4}), 0, true)) ==
        Ints{0, 2, 1, 3});
  const Tensor bytes = Tensor::from(Bytes{3, 0, 1, 255, 3, 2}, {3, 2});
  CHECK(indices_of(ops::argsort(bytes, 0)) == Ints{1, 0, 0, 2, 2, 1});
  CHECK(indices_of(ops::argsort(bytes, -1, true)) == Ints{0, 1, 1, 0, 0, 1});
  CHECK(ops::argsort(Tensor::zeros({0, 3}, DType::i32), 0).shape() == Shape{0, 3});
  CHECK_THROWS_WITH_AS(ops::argsort({}), doctest::Contains("[argsort] expected a tensor"), Error);
  CHECK_THROWS_WITH_AS(ops::argsort(bytes, 2), doctest::Contains("[argsort] expected an axis of u8 [3, 2]"),
                       Error);
}
