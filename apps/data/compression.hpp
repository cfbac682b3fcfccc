#pragma once
// What general-purpose compressors make of a text, the yardstick of a language model's bits per byte.

#include <string_view>

namespace simsmoe::app {

double gzip_bits_per_byte(std::string_view text);  // `gzip -9` by zlib, 0.1 % better than GNU's own
double xz_bits_per_byte(std::string_view text);    // as `xz -9e`; about a second per megabyte

}  // namespace simsmoe::app
