#include "engine/tensor.hpp"

#include <cmath>
#include <limits>
#include <utility>

#include "engine/caching_allocator.hpp"
#include "tests/engine/support.hpp"

using namespace simsmoe;
using testing::contains;
using testing::message_of;

namespace {
const std::vector<float> kSix{1, 2, 3, 4, 5, 6};
}

TEST_CASE("tensor: every write into memory that exists raises its version, reading does not") {
  const Tensor a = Tensor::zeros({2, 3}, DType::f32), row = a.slice0(1, 2);
  std::uint64_t before = a.version();
  const auto raised = [&] { return std::exchange(before, a.version()) < a.version(); };
  a.to_vector<double>();
  a.clone();
  a.to(DType::f64);
  to_string(a);
  CHECK(all_finite(a));
  CHECK(a.host<const float>()[5] == 0.0f);
  CHECK_FALSE(raised());
  a.fill(1.0);
  CHECK(raised());
  row.copy_from(Tensor::zeros({1, 3}, DType::f32));
  CHECK(raised());
  CHECK(row.version() == a.version());
  row.host<float>()[0] = 4.0f;
  CHECK(raised());
  a.view({6}).note_change();
  CHECK(raised());
  CHECK(message_of([] { Tensor().note_change(); }) == "[tensor] undefined tensor");
  CHECK(message_of([&] { a.host<const double>(); }) == "[tensor] read as f64 but it holds f32 [2, 3]");
}

TEST_CASE("tensor: a copy shares memory, a clone does not") {
  const Tensor a = Tensor::from(kSix, {2, 3});
  const Tensor shared = a, copy = a.clone();
  a.host<float>()[0] = 9;
  CHECK(shared.to_vector<float>()[0] == 9);
  CHECK(copy.to_vector<float>()[0] == 1);
  CHECK(shared.shares_memory_with(a));
  CHECK_FALSE(copy.shares_memory_with(a));
}

TEST_CASE("tensor: views and slices share memory") {
  const Tensor a = Tensor::from(kSix, {2, 3});
  const Tensor view = a.view({3, 2}), row = a.slice0(1, 2), inner = row.view({3}).slice0(1, 3);
  CHECK(row.shape() == Shape{1, 3});
  CHECK(row.to_vector<float>() == std::vector<float>{4, 5, 6});
  CHECK(inner.to_vector<float>() == std::vector<float>{5, 6});
  inner.fill(7);
  CHECK(a.to_vector<float>() == std::vector<float>{1, 2, 3, 4, 7, 7});
  CHECK(view.to_vector<float>()[5] == 7);
  CHECK(a.slice0(1, 1).numel() == 0);
  CHECK(row.clone().to_vector<float>() == row.to_vector<float>());
}

TEST_CASE("tensor: makers") {
  CHECK(Tensor::zeros({2, 2}, DType::i64).to_vector<double>() == std::vector<double>(4, 0.0));
  CHECK(Tensor::full({3}, 1.5, DType::bf16).to_vector<double>() == std::vector<double>(3, 1.5));
  CHECK(Tensor::scalar(4.0).item() == 4.0);
  CHECK(Tensor::scalar(std::int32_t{-4}).item() == -4.0);
  CHECK(Tensor::zeros_like(Tensor::scalar(2.0f)).dtype() == DType::f32);
  CHECK(Tensor::empty({0, 5}, DType::f32).to_vector<float>().empty());
  CHECK_FALSE(Tensor().defined());
  CHECK(reinterpret_cast<std::uintptr_t>(Tensor::empty({3}, DType::u8).raw_data()) % 64 == 0);
}

#ifndef NDEBUG
TEST_CASE("tensor: debug builds fill fresh memory with NaN") {
  for (const DType d : {DType::f32, DType::f64, DType::bf16})
    for (const double x : Tensor::empty({5}, d).to_vector<double>()) CHECK(std::isnan(x));
}
#endif

TEST_CASE("tensor: conversions between all dtypes keep small whole numbers") {
  const DType all[] = {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64, DType::u8};
  const std::vector<double> values{0, 1, 2, 100, 127};
  for (const DType from : all) {
    for (const DType to : all) {
      const Tensor t = Tensor::from(values, {5}).to(from).to(to);
      CHECK(t.dtype() == to);
      CHECK(t.to_vector<double>() == values);
    }
  }
  const Tensor a = Tensor::from(kSix, {6});
  CHECK(a.to(DType::f32).shares_memory_with(a));
  CHECK(a.to(kCpu).shares_memory_with(a));
  CHECK(Tensor::scalar(1.0 + 0x1p-9).to(DType::bf16).item() == 1.0);
}

TEST_CASE("tensor: misuse is refused with what was expected and what came") {
  const Tensor a = Tensor::from(kSix, {2, 3});
  CHECK(message_of([&] { a.data<double>(); }) == "[tensor] read as f64 but it holds f32 [2, 3]");
  CHECK(message_of([&] { a.view({4}); }) == "[view] [4] does not fit f32 [2, 3]");
  CHECK(message_of([&] { a.slice0(1, 3); }) == "[slice0] rows [1, 3) of f32 [2, 3]");
  CHECK_THROWS_AS(a.slice0(-1, 1), Error);
  CHECK_THROWS_AS(a.slice0(2, 1), Error);
  CHECK_THROWS_AS(Tensor::scalar(1.0f).slice0(0, 1), Error);
  CHECK(contains(message_of([&] { a.item(); }), "exactly one element"));
  CHECK(contains(message_of([] { Tensor().data<float>(); }), "undefined tensor"));
  CHECK(contains(message_of([] { Tensor().device(); }), "undefined tensor"));
  CHECK(contains(message_of([] { Tensor().item(); }), "undefined tensor"));
  CHECK(message_of([] { Tensor::from(kSix, {5}); }) == "[tensor] 6 values for shape [5]");
  CHECK(contains(message_of([&] { a.copy_from(a.to(DType::f64)); }), "f64 [2, 3] into f32 [2, 3]"));
  CHECK(contains(message_of([&] { a.copy_from(a.view({6})); }), "[copy_from]"));
  CHECK(contains(message_of([] { Tensor::empty({std::int64_t{1} << 61}, DType::f64); }), "overflows"));
}

TEST_CASE("tensor: text and finiteness") {
  CHECK(describe(Tensor::from(kSix, {2, 3})) == "f32 [2, 3]");
  CHECK(describe(Tensor()) == "undefined tensor");
  CHECK(to_string(Tensor::from(kSix, {2, 3})) == "f32 [2, 3] {1, 2, 3, 4, 5, 6}");
  CHECK(to_string(Tensor::zeros({9}, DType::u8)) == "u8 [9] {0, 0, 0, 0, 0, 0, 0, 0, ...}");
  const double bad[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()};
  for (const DType d : {DType::f32, DType::f64, DType::bf16}) {
    CHECK(all_finite(Tensor::full({3}, 1.0, d)));
    for (const double x : bad) CHECK_FALSE(all_finite(Tensor::full({3}, x, d)));
  }
  CHECK(all_finite(Tensor::zeros({3}, DType::i32)));
}

TEST_CASE("tensor: memory is returned with its last owner") {
  const std::size_t before = allocator(kCpu).stats().in_use_bytes;
  {
    Tensor slice;
    {
      const Tensor a = Tensor::zeros({1024}, DType::f32);
      slice = a.slice0(0, 1);
    }
    CHECK(allocator(kCpu).stats().in_use_bytes == before + 4096);
  }
  CHECK(allocator(kCpu).stats().in_use_bytes == before);
}
