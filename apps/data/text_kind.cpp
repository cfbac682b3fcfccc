// Signatures, and zero bytes.

#include "apps/data/text_kind.hpp"

#include <algorithm>
#include <array>

namespace simsmoe::app {

namespace {

using namespace std::string_view_literals;

struct Signature {
  std::size_t place;
  std::string_view bytes;
  TextKind kind;
};

constexpr std::string_view kGzip = "\x1f\x8b"sv, kXz = "\xfd\x37zXZ\0"sv;
constexpr std::string_view kToUtf8 = "convert it first (iconv -t UTF-8)";

// A longer signature stands before one that it begins with. Those that a text could begin with have no place here.
constexpr std::array kSignatures{
    Signature{0, kGzip, {"gzip data", "unpack it first (gzip -d)"}},
    Signature{0, kXz, {"xz data", "unpack it first (xz -d)"}},
    Signature{4, "1AY&SY"sv, {"bzip2 data", "unpack it first (bzip2 -d)"}},
    Signature{0, "\x28\xb5\x2f\xfd"sv, {"zstd data", "unpack it first (zstd -d)"}},
    Signature{0, "\x04\x22\x4d\x18"sv, {"lz4 data", "unpack it first (lz4 -d)"}},
    Signature{0, "PK\x03\x04"sv, {"a zip archive", "unpack it first (unzip)"}},
    Signature{0, "7z\xbc\xaf\x27\x1c"sv, {"a 7z archive", "unpack it first (7z x)"}},
    Signature{0, "Rar!\x1a\x07"sv, {"a rar archive", "unpack it first (unrar x)"}},
    Signature{257, "ustar"sv, {"a tar archive", "unpack it first (tar -xf)"}},
    Signature{0, "%PDF-"sv, {"a PDF document", "take its text first (pdftotext)"}},
    Signature{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"sv, {"an office document", "save it as plain text first"}},
    Signature{0, "\xff\xfe\0\0"sv, {"UTF-32 text", kToUtf8}},
    Signature{0, "\0\0\xfe\xff"sv, {"UTF-32 text", kToUtf8}},
    Signature{0, "\xff\xfe"sv, {"UTF-16 text", kToUtf8}},
    Signature{0, "\xfe\xff"sv, {"UTF-16 text", kToUtf8}},
    Signature{0, "\x7f\x45LF"sv, {"an ELF program or library"}},
    Signature{0, "\x89PNG\r\n\x1a\n"sv, {"a PNG image"}},
    Signature{0, "\xff\xd8\xff"sv, {"a JPEG image"}},
    Signature{0, "GIF87a"sv, {"a GIF image"}},
    Signature{0, "GIF89a"sv, {"a GIF image"}},
    Signature{0, "OggS\0"sv, {"Ogg sound or film"}},
    Signature{0, "fLaC\0"sv, {"FLAC sound"}},
    Signature{0, "SQLite format 3\0"sv, {"an SQLite database"}},
    Signature{0, "\x89HDF\r\n\x1a\n"sv, {"an HDF5 file"}},
    Signature{0, "\x93NUMPY"sv, {"a NumPy array"}},
    Signature{0, "PAR1\x15"sv, {"a Parquet table"}},
};

bool stands_at(std::string_view beginning, std::size_t place, std::string_view bytes) {
  return beginning.size() >= place && beginning.substr(place).starts_with(bytes);
}

// Text has no zero bytes. In UTF-16 of Latin letters every other byte is one; of other letters, spaces and line breaks
// have them, which are all at even or all at odd places: not by chance when there are many.
TextKind by_zero_bytes(std::string_view beginning) {
  std::array<std::size_t, 2> zeros{};  // at even and at odd places
  for (std::size_t i = 0; i < beginning.size(); ++i) zeros[i % 2] += beginning[i] == '\0' ? 1 : 0;
  constexpr std::size_t kNotByChance = 16;
  const auto [few, many] = std::ranges::minmax(zeros);
  if (few == 0 && (4 * many > beginning.size() || many >= kNotByChance)) return {"UTF-16 text", kToUtf8};
  if (many > 0) return {"binary data (it has zero bytes)"};
  return {};
}

}  // namespace

TextKind kind_of(std::string_view beginning) {
  for (const Signature& signature : kSignatures)
    if (stands_at(beginning, signature.place, signature.bytes)) return signature.kind;
  return by_zero_bytes(beginning);
}

Packing packing_of(std::string_view beginning) {
  if (beginning.starts_with(kGzip)) return Packing::gzip;
  return beginning.starts_with(kXz) ? Packing::xz : Packing::none;
}

}  // namespace simsmoe::app
