#pragma once
// What a file is by its first bytes, where these say that it is not the text that somebody meant.

#include <cstddef>
#include <string_view>

namespace simsmoe::app {

inline constexpr std::size_t kTellingBytes = 4096;

// "a zip archive" and what to do about it, "unzip it first"; both empty for a text. `beginning`: up to kTellingBytes.
struct TextKind {
  std::string_view name, advice = {};
};
TextKind kind_of(std::string_view beginning);

enum class Packing : unsigned char { none, gzip, xz };
Packing packing_of(std::string_view beginning);

}  // namespace simsmoe::app
