#pragma once
// Compressed text: reading it; and what general-purpose compressors make of a text, the yardstick of a
// language model's bits per byte.

#include <string>
#include <string_view>

namespace simsmoe::app {

// The unpacked bytes of a gzip file (dictzip is one). Throws UserError when it is not there, or not whole.
std::string read_gzip_file(const std::string& path);

double gzip_bits_per_byte(std::string_view text);  // `gzip -9` by zlib, 0.1 % better than GNU's own
double xz_bits_per_byte(std::string_view text);    // as `xz -9e`; about a second per megabyte

}  // namespace simsmoe::app
