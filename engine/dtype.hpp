#pragma once
// Element types. A Tensor knows its DType at run time; kernels turn it into a C++ type once, at their door,
// with for_float_dtype or for_index_dtype, and compute in acc_t.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "engine/check.hpp"
#include "engine/host_device.hpp"

namespace simsmoe {

enum class DType : std::uint8_t { f32, f64, bf16, i32, i64, u8 };

// The upper half of an IEEE float: 8 bits of exponent, 8 of significand with the implicit one. Storage only;
// arithmetic happens in float.
struct bf16 {
  std::uint16_t bits = 0;

  bf16() = default;
  // Rounds to nearest, ties to even; NaN stays NaN (quiet).
  SMX_HOST_DEVICE explicit bf16(float x) {
    const std::uint32_t u = std::bit_cast<std::uint32_t>(x);
    const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
    const std::uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    bits = static_cast<std::uint16_t>(is_nan ? ((u >> 16) | 0x40u) : rounded);
  }
  SMX_HOST_DEVICE explicit bf16(double x) : bf16(static_cast<float>(x)) {}  // rounds twice
  SMX_HOST_DEVICE operator float() const {                                  // exact, hence implicit
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

// x in another element type, as static_cast has it; into bf16 by way of float.
template <class To, class From>
SMX_HOST_DEVICE To converted(From x) {
  if constexpr (std::is_same_v<To, bf16>)
    return bf16(static_cast<float>(x));
  else
    return static_cast<To>(x);
}

std::string_view name_of(DType dtype);    // "f32"
DType dtype_from_name(std::string_view);  // throws Error on an unknown name
std::size_t size_of(DType dtype);         // bytes per element
constexpr bool is_float(DType d) { return d == DType::f32 || d == DType::f64 || d == DType::bf16; }
constexpr bool is_index(DType d) { return d == DType::i32 || d == DType::i64; }

// The type that kernels compute in: float for bf16, the type itself otherwise.
template <class T>
using acc_t = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return DType::f32;
  else if constexpr (std::is_same_v<T, double>)
    return DType::f64;
  else if constexpr (std::is_same_v<T, bf16>)
    return DType::bf16;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return DType::i32;
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return DType::i64;
  else {
    static_assert(std::is_same_v<T, std::uint8_t>, "not an element type");
    return DType::u8;
  }
}

// Calls f.template operator()<T>() with T = float, double or bf16.
template <class F>
decltype(auto) for_float_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::f64:
      return f.template operator()<double>();
    case DType::bf16:
      return f.template operator()<bf16>();
    default:
      throw Error(fmt::format("expected a float dtype, got {}", name_of(dtype)));
  }
}

// Calls f.template operator()<T>() with T = int32_t or int64_t.
template <class F>
decltype(auto) for_index_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::i32:
      return f.template operator()<std::int32_t>();
    case DType::i64:
      return f.template operator()<std::int64_t>();
    default:
      throw Error(fmt::format("expected an index dtype (i32 or i64), got {}", name_of(dtype)));
  }
}

// Any of the six.
template <class F>
decltype(auto) for_dtype(DType dtype, F&& f) {
  if (is_float(dtype)) return for_float_dtype(dtype, f);
  if (is_index(dtype)) return for_index_dtype(dtype, f);
  return f.template operator()<std::uint8_t>();
}

}  // namespace simsmoe
