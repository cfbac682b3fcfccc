// What a terminal may be shown of a text that nobody vouches for.

#include "engine/printable.hpp"

#include <doctest/doctest.h>

#include <fmt/format.h>

#include "engine/utf8.hpp"

using namespace simsmoe;
using namespace std::string_literals;

TEST_CASE("printable: text stays as it is, line breaks and tabs included") {
  for (const std::string& text :
       {""s, "plain\n\ttext ~"s, "caf\u00e9 \u4f60\u597d \U0001F600"s, "\u00a0 \u00ff"s})
    CHECK(printable(text) == text);
}

TEST_CASE("printable: every control character and every byte that is no UTF-8 is escaped") {
  for (int code = 0; code < 256; ++code) {
    const auto byte = static_cast<char>(code);
    const bool shown = code == '\n' || code == '\t' || (code >= 0x20 && code < 0x7F);
    CAPTURE(code);
    CHECK(printable(std::string(1, byte)) == (shown ? std::string(1, byte) : fmt::format("\\x{:02x}", code)));
    if (code >= 0x80 && code < 0xC0)  // the characters U+0080 .. U+00BF
      CHECK(printable(std::string("\xC2") + byte) ==
            (code < 0xA0 ? fmt::format("\\xc2\\x{:02x}", code) : std::string("\xC2") + byte));
  }
  CHECK(printable("\x1b[2J\x1b]0;title\a\r") == "\\x1b[2J\\x1b]0;title\\x07\\x0d");
  CHECK(printable("\xE4\xBD") == "\\xe4\\xbd");           // cut off
  CHECK(printable("\xED\xA0\x80") == "\\xed\\xa0\\x80");  // a surrogate
  CHECK(printable("\xC0\x9B"
                  "31m") == "\\xc0\\x9b31m");  // ESC in an overlong form
}

TEST_CASE("printable: in pieces of any size a text is what it is as a whole") {
  const std::string text =
      "a\u00e9\u4f60\U0001F600\U0010FFFF\uD7FF\x1b\xE4\xBD"
      "b\xED\xA0\x80\xF4\x90\xC2\x9B\xFF\xF0\x9F\x98";
  for (std::size_t size = 1; size <= text.size(); ++size) {
    PrintableStream stream;
    std::string shown;
    for (std::size_t at = 0; at < text.size(); at += size) {
      shown += stream.add(text.substr(at, size));
      CHECK(is_utf8(shown));
    }
    CHECK(shown + stream.finish() == printable(text));
    CHECK(stream.finish().empty());
  }
  PrintableStream stream;  // nothing waits that could be shown
  CHECK(stream.add("a") == "a");
  CHECK(stream.add("\xC3").empty());
  CHECK(stream.add("\xA9") == "\u00e9");
  CHECK(stream.add("\xE0\x80") == "\\xe0\\x80");
}
