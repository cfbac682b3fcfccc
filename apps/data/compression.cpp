#include "apps/data/compression.hpp"

#include <lzma.h>
#include <zlib.h>

#include <cstdint>
#include <vector>

#include "engine/check.hpp"

namespace simsmoe::app {

double gzip_bits_per_byte(std::string_view text) {
  constexpr int kGzipFormat = 15 + 16;  // the largest window, a gzip header instead of zlib's
  z_stream stream{};
  SMX_CHECK(deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kGzipFormat, 8, Z_DEFAULT_STRATEGY) == Z_OK,
            "[gzip] cannot start");
  std::vector<unsigned char> sink(1 << 16);
  std::size_t packed = 0;
  int status = Z_OK;
  constexpr std::size_t kPiece = std::size_t{1} << 30;  // zlib counts its input in 32 bits
  while (status != Z_STREAM_END) {
    if (stream.avail_in == 0 && !text.empty()) {
      const std::string_view piece = text.substr(0, kPiece);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
      stream.avail_in = static_cast<uInt>(piece.size());
      text.remove_prefix(piece.size());
    }
    stream.next_out = sink.data();
    stream.avail_out = static_cast<uInt>(sink.size());
    status = deflate(&stream, text.empty() ? Z_FINISH : Z_NO_FLUSH);
    packed += sink.size() - stream.avail_out;
  }
  const auto total = static_cast<double>(stream.total_in);
  deflateEnd(&stream);
  return 8.0 * static_cast<double>(packed) / total;
}

double xz_bits_per_byte(std::string_view text) {
  std::vector<std::uint8_t> sink(lzma_stream_buffer_bound(text.size()));
  std::size_t packed = 0;
  const lzma_ret result = lzma_easy_buffer_encode(9 | LZMA_PRESET_EXTREME, LZMA_CHECK_CRC64, nullptr,
                                                  reinterpret_cast<const std::uint8_t*>(text.data()),
                                                  text.size(), sink.data(), &packed, sink.size());
  SMX_CHECK(result == LZMA_OK, "[xz] failed with code {}", static_cast<int>(result));
  return 8.0 * static_cast<double>(packed) / static_cast<double>(text.size());
}

}  // namespace simsmoe::app
