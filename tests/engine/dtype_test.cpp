#include "engine/dtype.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include "engine/device.hpp"
#include "tests/engine/support.hpp"

using namespace simsmoe;

namespace {

// The bf16 nearest to x, ties to even, by arithmetic instead of by bits.
float nearest_bf16(float x) {
  if (std::isnan(x) || std::isinf(x) || x == 0.0f) return x;
  int exponent = 0;
  std::frexp(static_cast<double>(x), &exponent);
  const double quantum = std::ldexp(1.0, std::max(exponent, -125) - 8);  // 8 bits; subnormals below 2^-126
  const double y = std::nearbyint(static_cast<double>(x) / quantum) * quantum;
  if (std::fabs(y) >= 0x1p128) return std::copysign(std::numeric_limits<float>::infinity(), x);
  return static_cast<float>(y);
}

}  // namespace

TEST_CASE("bf16: every pattern survives the way to float and back") {
  for (std::uint32_t pattern = 0; pattern < 0x10000u; ++pattern) {
    bf16 b;
    b.bits = static_cast<std::uint16_t>(pattern);
    const float x = b;
    const bf16 back(x);
    if (std::isnan(x)) {
      REQUIRE(std::isnan(static_cast<float>(back)));
    } else {
      REQUIRE(back.bits == pattern);
    }
  }
}

TEST_CASE("bf16: rounds to nearest, ties to even") {
  std::int64_t failures = 0;
  for (std::uint32_t upper = 0; upper < 0x10000u; ++upper) {
    for (const std::uint32_t lower : {0u, 1u, 0x4321u, 0x7fffu, 0x8000u, 0x8001u, 0xc000u, 0xffffu}) {
      const float x = std::bit_cast<float>(upper << 16 | lower);
      const float y = bf16(x), wanted = nearest_bf16(x);
      failures += std::isnan(x) ? !std::isnan(y)
                                : std::bit_cast<std::uint32_t>(y) != std::bit_cast<std::uint32_t>(wanted);
    }
  }
  CHECK(failures == 0);
}

TEST_CASE("dtype: names, sizes, kinds") {
  const DType all[] = {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64, DType::u8};
  for (const DType d : all) {
    CHECK(dtype_from_name(name_of(d)) == d);
    for_dtype(d, [&]<class T>() {
      CHECK(dtype_of<T>() == d);
      CHECK(sizeof(T) == size_of(d));
    });
  }
  CHECK(is_float(DType::bf16));
  CHECK_FALSE(is_float(DType::u8));
  CHECK(is_index(DType::i64));
  CHECK_FALSE(is_index(DType::u8));
  static_assert(std::is_same_v<acc_t<bf16>, float> && std::is_same_v<acc_t<double>, double>);
  CHECK(testing::message_of([] { dtype_from_name("f16"); }) ==
        "unknown dtype 'f16': one of f32, f64, bf16, i32, i64, u8");
  CHECK_THROWS_AS(for_float_dtype(DType::i32, []<class T>() {}), Error);
  CHECK_THROWS_AS(for_index_dtype(DType::u8, []<class T>() {}), Error);
}

TEST_CASE("device: names") {
  CHECK(device_from_name("cpu") == kCpu);
  CHECK(device_from_name("cuda") == Device{DeviceType::cuda, 0});
  CHECK(device_from_name("cuda:3").to_string() == "cuda:3");
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1234"})
    CHECK_THROWS_AS(device_from_name(name), UserError);
  CHECK_FALSE(runtime(kCpu).description().empty());
  CHECK(runtime(kCpu).memory().total_bytes > 0);
}
