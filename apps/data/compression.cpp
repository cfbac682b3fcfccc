#include "apps/data/compression.hpp"

#include <lzma.h>
#include <zlib.h>

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "apps/interrupt.hpp"
#include "engine/check.hpp"

namespace simsmoe::app {

namespace {

// Streams of both libraries have the same members. code(last): packs what there is, the end of the text when `last`, and
// says whether all is packed.
template <class Stream, class Code>
double bits_per_byte_of(Stream& stream, std::string_view text, const Watch& watch, const Code& code) {
  constexpr std::size_t kPiece = std::size_t{1} << 16;
  std::vector<unsigned char> sink(kPiece);
  std::size_t packed = 0, given = 0;
  for (bool done = false; !done;) {
    if (stream.avail_in == 0 && given < text.size()) {
      const std::string_view piece = text.substr(given, kPiece);
      stream.next_in = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(piece.data()));
      stream.avail_in = static_cast<decltype(stream.avail_in)>(piece.size());
      if (watch) watch(static_cast<std::int64_t>(given), static_cast<std::int64_t>(text.size()));
      given += piece.size();
    }
    stream.next_out = sink.data();
    stream.avail_out = static_cast<decltype(stream.avail_out)>(sink.size());
    done = code(given == text.size());
    packed += sink.size() - stream.avail_out;
  }
  return 8.0 * static_cast<double>(packed) / static_cast<double>(text.size());
}

void check(lzma_ret result) {
  if (result == LZMA_MEM_ERROR) throw std::bad_alloc();
  SMX_CHECK(result == LZMA_OK || result == LZMA_STREAM_END, "[xz] failed with code {}",
            static_cast<int>(result));
}

}  // namespace

double gzip_bits_per_byte(std::string_view text, const Watch& watch) {
  constexpr int kGzipFormat = 15 + 16;  // the largest window, a gzip header instead of zlib's
  z_stream stream{};
  const int begun = deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kGzipFormat, 8, Z_DEFAULT_STRATEGY);
  if (begun == Z_MEM_ERROR) throw std::bad_alloc();
  SMX_CHECK(begun == Z_OK, "[gzip] failed with code {}", begun);
  const std::unique_ptr<z_stream, decltype(&deflateEnd)> end(&stream, deflateEnd);
  return bits_per_byte_of(stream, text, watch, [&](bool last) {
    return deflate(&stream, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_END;
  });
}

double xz_bits_per_byte(std::string_view text, const Watch& watch) {
  lzma_stream stream = LZMA_STREAM_INIT;
  const std::unique_ptr<lzma_stream, decltype(&lzma_end)> end(&stream, lzma_end);
  check(lzma_easy_encoder(&stream, 9 | LZMA_PRESET_EXTREME, LZMA_CHECK_CRC64));
  return bits_per_byte_of(stream, text, watch, [&](bool last) {
    const lzma_ret result = lzma_code(&stream, last ? LZMA_FINISH : LZMA_RUN);
    check(result);
    return result == LZMA_STREAM_END;
  });
}

std::string compared(const Text& text, const std::vector<Compressor>& compressors) {
  std::string lines;
  for (const Compressor& compressor : compressors) {
    std::string result;
    try {
      const double bits = compressor.bits_per_byte(text.bytes(), stoppable(compressor.name));
      result = fmt::format("{:.4f} bits per byte of the same text", bits);
    } catch (const Interrupted&) {
      throw;
    } catch (const std::bad_alloc&) {
      result = "left out: not enough memory";
    } catch (const std::exception& error) {
      result = fmt::format("left out: {}", error.what());
    }
    lines += fmt::format("{:<12}{}\n", compressor.name, result);
  }
  return lines;
}

}  // namespace simsmoe::app
