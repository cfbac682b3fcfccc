#include "ops/index.hpp"

#include "tests/ops/values.hpp"

// Which elements are read and written, against loops; and the functions of Tensors alone.

using namespace simsmoe;
using namespace simsmoe::testing;

namespace {

const Shape kShape{3, 4, 2};

// The place in x of (a, b, c) with `along` instead of the place along the axis.
std::size_t place(int axis, std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t along) {
  (axis == 0 ? a : axis == 1 ? b : c) = along;
  return static_cast<std::size_t>((a * kShape[1] + b) * kShape[2] + c);
}

// f(flat place in the index, the place in x that it names)
void for_each_entry(int axis, const Tensor& index, const std::function<void(std::size_t, std::size_t)>& f) {
  const Longs entries = index.to_vector<std::int64_t>();
  std::size_t i = 0;
  for (std::int64_t a = 0; a < index.size(0); ++a)
    for (std::int64_t b = 0; b < index.size(1); ++b)
      for (std::int64_t c = 0; c < index.size(2); ++c, ++i) f(i, place(axis, a, b, c, entries[i]));
}

// Smaller than x outside of the axis, longer along it.
Tensor some_index(int axis) {
  Shape shape{2, 3, 2};
  shape = shape.with(axis, 5);
  Longs entries;
  for (std::int64_t i = 0; i < shape.numel(); ++i) entries.push_back(i * i % kShape[axis]);
  return longs(entries, shape);
}

}  // namespace

TEST_CASE("gather and scatter_add along each axis are what loops give") {
  const Variable x = leaf(counting(kShape), kShape);
  for (const int axis : {0, 1, 2})
    for (const DType dtype : {DType::i64, DType::i32}) {
      const Tensor index = some_index(axis);
      Doubles gathered(static_cast<std::size_t>(index.numel())), scattered = values_of(x);
      const Variable source = leaf(counting(index.shape()), index.shape());
      for_each_entry(axis, index, [&](std::size_t i, std::size_t at) {
        gathered[i] = values_of(x)[at];
        scattered[at] += static_cast<double>(i);
      });
      CHECK(values_of(ops::gather(x, axis, index.to(dtype))) == gathered);
      CHECK(values_of(ops::scatter_add(x, axis - 3, index.to(dtype), source)) == scattered);
    }
  CHECK(values_of(x) == counting(kShape));  // scatter_add leaves its operand alone
}

TEST_CASE("scatter_add of bf16 is summed in f32") {
  const Variable zero = leaf({0}, {1}, DType::bf16), ones = leaf(Doubles(1000, 1.0), {1000}, DType::bf16);
  CHECK(ops::scatter_add(zero, 0, Tensor::zeros({1000}, DType::i32), ones).value().item() == 1000.0);
}

TEST_CASE("index_select along each axis, of floats and of integers") {
  const Tensor indices = longs({2, 0, 2}, {3});
  const Tensor x = tensor(counting({2, 3, 2}), {2, 3, 2});
  const Doubles middle = {4, 5, 0, 1, 4, 5, 10, 11, 6, 7, 10, 11};
  CHECK(values_of(ops::index_select(Variable(x), indices, 1)) == middle);
  for (const DType dtype : {DType::f32, DType::bf16, DType::i32, DType::i64, DType::u8}) {
    const Tensor y = ops::index_select(x.to(dtype), indices, -2);
    CHECK(y.dtype() == dtype);
    CHECK(y.shape() == Shape{2, 3, 2});
    CHECK(y.to_vector<double>() == middle);
  }
  const Tensor table = longs({10, 11, 20, 21, 30, 31}, {3, 2});
  CHECK(ops::index_select(table, indices).to_vector<std::int64_t>() == Longs{30, 31, 10, 11, 30, 31});
}

TEST_CASE("one_hot: every dtype, -1 is a row of zeros") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i32, DType::i64, DType::u8}) {
    const Tensor y = ops::one_hot(Tensor::from(Ints{2, -1, 0, 1}, {2, 2}), 3, dtype);
    CHECK(y.dtype() == dtype);
    CHECK(y.shape() == Shape{2, 2, 3});
    CHECK(y.to_vector<double>() == Doubles{0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0});
  }
  CHECK(ops::one_hot(longs({}, {0}), 3).shape() == Shape{0, 3});
  CHECK(ops::one_hot(longs({-1}, {1}), 0).shape() == Shape{1, 0});
  CHECK(ops::one_hot(longs({1}, {}), 2).to_vector<float>() == std::vector<float>{0, 1});
}

TEST_CASE("arange") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i32, DType::i64, DType::u8}) {
    const Tensor y = ops::arange(4, dtype);
    CHECK(y.dtype() == dtype);
    CHECK(y.to_vector<double>() == Doubles{0, 1, 2, 3});
  }
  CHECK(ops::arange(0).shape() == Shape{0});
  CHECK(ops::arange(100000).to_vector<double>() == counting({100000}));
  CHECK(ops::arange(256, DType::u8).to_vector<double>() == counting({256}));
}

TEST_CASE("functions of indices explain misuse") {
  using doctest::Contains;
  const Tensor x = tensor({1, 2, 3});
  CHECK_THROWS_WITH_AS(ops::one_hot(longs({0, 3}, {2}), 3),
                       Contains("[one_hot] indices[1] = 3 is outside [-1, 3)"), Error);
  CHECK_THROWS_WITH_AS(ops::one_hot(longs({-2}, {1}), 3),
                       Contains("[one_hot] indices[0] = -2 is outside [-1, 3)"), Error);
  CHECK_THROWS_WITH_AS(ops::one_hot(x, 3), Contains("[one_hot] expected an integer tensor"), Error);
  CHECK_THROWS_WITH_AS(ops::one_hot({}, 3), Contains("[one_hot] expected an integer tensor"), Error);
  CHECK_THROWS_WITH_AS(ops::one_hot(longs({0}, {1}), -1), Contains("[one_hot] expected n >= 0, got -1"),
                       Error);
  CHECK_THROWS_WITH_AS(ops::arange(-1), Contains("[arange] expected 0 <= n"), Error);
  CHECK_THROWS_WITH_AS(ops::arange(257, DType::u8),
                       Contains("[arange] expected 0 <= n <= 256 for u8, got 257"), Error);
  CHECK_THROWS_WITH_AS(ops::index_select(x, longs({3}, {1})), Contains("[index_select] indices[0] = 3"),
                       Error);
  CHECK_THROWS_WITH_AS(ops::index_select(x, Tensor{}), Contains("[index_select] expected an integer tensor"),
                       Error);
  CHECK_THROWS_WITH_AS(ops::index_select(Tensor{}, longs({0}, {1})),
                       Contains("[index_select] expected a tensor"), Error);
  CHECK_THROWS_WITH_AS(ops::embedding(leaf({1, 2}, {1, 2}), {}),
                       Contains("[embedding] expected an integer tensor"), Error);
  CHECK_THROWS_WITH_AS(ops::take_along_last(leaf({1, 2}), {}),
                       Contains("[take_along_last] expected an integer tensor"), Error);
}
