#pragma once
// Text that nobody vouches for (a model's, a file's name) as a terminal may show it: a control byte in it could move the
// cursor, change colours or answer for the keyboard.

#include <string>
#include <string_view>

namespace simsmoe {

// Control characters (C0 but for newline and tab, DEL, C1) and bytes that are no UTF-8, each byte of them as \xNN;
// everything else as it is.
std::string printable(std::string_view text);

// The same of a text that comes in pieces, which may end within a character: its bytes wait for the rest.
class PrintableStream {
 public:
  std::string add(std::string_view piece);
  std::string finish();  // what is still waiting; the next piece begins another text

 private:
  std::string waiting_;
};

}  // namespace simsmoe
