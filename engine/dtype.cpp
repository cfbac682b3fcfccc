#include "engine/dtype.hpp"

#include <array>
#include <utility>

namespace simsmoe {

namespace {
struct Row {
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<Row, 6> kRows{{{"f32", 4}, {"f64", 8}, {"bf16", 2}, {"i32", 4}, {"i64", 8}, {"u8", 1}}};
}  // namespace

std::string_view name_of(DType dtype) { return kRows[static_cast<std::size_t>(dtype)].name; }

std::size_t size_of(DType dtype) { return kRows[static_cast<std::size_t>(dtype)].bytes; }

DType dtype_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kRows.size(); ++i)
    if (kRows[i].name == name) return static_cast<DType>(i);
  throw Error(fmt::format("unknown dtype '{}': one of f32, f64, bf16, i32, i64, u8", name));
}

}  // namespace simsmoe
