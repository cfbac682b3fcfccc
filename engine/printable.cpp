// Character by character.

#include "engine/printable.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "engine/utf8.hpp"

namespace simsmoe {

namespace {

bool is_control(std::string_view character) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return (byte(0) < 0x20 && byte(0) != '\n' && byte(0) != '\t') || byte(0) == 0x7F;
  return byte(0) == 0xC2 && byte(1) < 0xA0;  // U+0080 .. U+009F
}

// Whether more bytes can make a character of it: the smallest or the largest that may follow do.
bool may_go_on(std::string_view tail) {
  const std::string begun(tail);
  return utf8_length(begun + "\x80\x80\x80") > tail.size() ||
         utf8_length(begun + "\xBF\xBF\xBF") > tail.size();
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(length, 1));
    if (length > 0 && !is_control(character))
      out += character;
    else
      for (const char c : character) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    text.remove_prefix(character.size());
  }
  return out;
}

std::string PrintableStream::add(std::string_view piece) {
  waiting_ += piece;
  std::size_t held = std::min<std::size_t>(3, waiting_.size());  // of the longest character all but one byte
  while (held > 0 && !may_go_on(std::string_view(waiting_).substr(waiting_.size() - held))) --held;
  const std::size_t whole = waiting_.size() - held;
  std::string out = printable(std::string_view(waiting_).substr(0, whole));
  waiting_.erase(0, whole);
  return out;
}

std::string PrintableStream::finish() {
  std::string out = printable(waiting_);
  waiting_.clear();
  return out;
}

}  // namespace simsmoe
