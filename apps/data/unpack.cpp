// zlib and liblzma, piece by piece.

#include "apps/data/unpack.hpp"

#include <lzma.h>
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <span>
#include <vector>

#include "engine/check.hpp"

namespace simsmoe::app {

namespace {

constexpr int kGzipFormat = 15 + 16;  // the largest window, a gzip header instead of zlib's

enum class Decoding : unsigned char { more, end, damaged };

// Both decoders take from the front of `in` and fill `out` from its front, and leave there what is left of them. With
// `last` there is no more input, without it `in` is not empty.
class GzipDecoder {
 public:
  GzipDecoder() { SMX_CHECK(inflateInit2(&stream_, kGzipFormat) == Z_OK, "[gzip] cannot start"); }
  ~GzipDecoder() { inflateEnd(&stream_); }
  GzipDecoder(const GzipDecoder&) = delete;
  GzipDecoder& operator=(const GzipDecoder&) = delete;

  Decoding step(std::span<const char>& in, std::span<char>& out, bool last) {
    // What stands behind a member and begins no other is not looked at, as with gzip -d.
    constexpr char kFirstOfMember = '\x1f';
    if (between_members_ && (in.empty() ? last : in.front() != kFirstOfMember)) return Decoding::end;
    between_members_ = false;
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int status = inflate(&stream_, Z_NO_FLUSH);
    in = in.last(stream_.avail_in);
    out = out.last(stream_.avail_out);
    if (status == Z_STREAM_END) {
      between_members_ = true;
      return inflateReset(&stream_) == Z_OK ? Decoding::more : Decoding::damaged;
    }
    return status == Z_OK ? Decoding::more : Decoding::damaged;
  }

 private:
  z_stream stream_{};
  bool between_members_ = false;
};

class XzDecoder {
 public:
  XzDecoder() {
    const lzma_ret result = lzma_stream_decoder(&stream_, UINT64_MAX, LZMA_CONCATENATED);
    SMX_CHECK(result == LZMA_OK, "[xz] cannot start: code {}", static_cast<int>(result));
  }
  ~XzDecoder() { lzma_end(&stream_); }
  XzDecoder(const XzDecoder&) = delete;
  XzDecoder& operator=(const XzDecoder&) = delete;

  Decoding step(std::span<const char>& in, std::span<char>& out, bool last) {
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(in.data());
    stream_.avail_in = in.size();
    stream_.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    stream_.avail_out = out.size();
    const lzma_ret result = lzma_code(&stream_, last ? LZMA_FINISH : LZMA_RUN);
    in = in.last(stream_.avail_in);
    out = out.last(stream_.avail_out);
    if (result == LZMA_STREAM_END) return Decoding::end;
    return result == LZMA_OK ? Decoding::more : Decoding::damaged;
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

template <class Decoder>
std::string decode(const Text& packed, const std::string& name, const Watch& watch) {
  constexpr std::size_t kPiece = 1 << 20;
  Decoder decoder;
  std::vector<char> input(kPiece), output(kPiece);
  std::span<const char> in;
  std::string text;
  std::size_t taken = 0;
  for (Decoding state = Decoding::more; state != Decoding::end;) {
    if (in.empty() && taken < packed.size()) {
      const std::span<char> piece = std::span(input).first(std::min(kPiece, packed.size() - taken));
      packed.copy(taken, piece);
      taken += piece.size();
      in = piece;
      if (watch) watch(static_cast<std::int64_t>(taken), static_cast<std::int64_t>(packed.size()));
    }
    std::span<char> left = output;
    state = decoder.step(in, left, taken == packed.size());
    if (state == Decoding::damaged) throw UserError(fmt::format("{} is damaged or cut off", name));
    text.append(output.data(), output.size() - left.size());
  }
  return text;
}

}  // namespace

std::string unpack(const Text& packed, Packing packing, const std::string& name, const Watch& watch) try {
  switch (packing) {
    case Packing::gzip:
      return decode<GzipDecoder>(packed, name, watch);
    case Packing::xz:
      return decode<XzDecoder>(packed, name, watch);
    case Packing::none:
      break;
  }
  return packed.bytes();
} catch (const std::bad_alloc&) {
  throw UserError(fmt::format("{} does not fit into memory: unpack it to a file", name));
}

}  // namespace simsmoe::app
