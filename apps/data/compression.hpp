#pragma once
// What general-purpose compressors make of a text, the yardstick of a language model's bits per byte.

#include <string>
#include <string_view>
#include <vector>

#include "apps/data/text.hpp"
#include "engine/progress.hpp"

namespace simsmoe::app {

// They throw std::bad_alloc or Error; `watch` is told of bytes.
double gzip_bits_per_byte(std::string_view text,
                          const Watch& watch = {});  // `gzip -9` by zlib, 0.1 % better than GNU's own
double xz_bits_per_byte(std::string_view text,
                        const Watch& watch = {});  // as `xz -9e`; about a second per megabyte

struct Compressor {
  std::string name;
  double (*bits_per_byte)(std::string_view text, const Watch& watch);
};

// A line for each compressor, "gzip -9     2.4947 bits per byte of the same text"; of one that fails, whatever the reason,
// it says so. An interrupt ends it (Interrupted).
std::string compared(const Text& text, const std::vector<Compressor>& compressors = {
                                           {"gzip -9", gzip_bits_per_byte}, {"xz -9e", xz_bits_per_byte}});

}  // namespace simsmoe::app
