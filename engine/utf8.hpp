#pragma once
// Which bytes are UTF-8.

#include <cstddef>
#include <string_view>

namespace simsmoe {

// Number of bytes of the UTF-8 character at the front of `text` (not empty), 0 when it is malformed (overlong
// forms, surrogates and values beyond U+10FFFF included).
std::size_t utf8_length(std::string_view text);

bool is_utf8(std::string_view text);

}  // namespace simsmoe
