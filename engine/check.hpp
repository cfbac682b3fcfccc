#pragma once
// Errors. Every precondition of a public function is checked in every build with SMX_CHECK; the message
// begins with the name of the op in brackets, says what was expected and shows what came:
//
//   SMX_CHECK(is_float(x.dtype()), "[softmax] expected a float tensor, got {}", describe(x));

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace simsmoe {

// A broken contract, a failed allocation, a bug: the program ends with exit code 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Something that the person at the keyboard can mend (a config value, a missing file): exit code 2.
class UserError : public Error {
 public:
  using Error::Error;
};

}  // namespace simsmoe

#define SMX_CHECK(condition, ...)                         \
  do {                                                    \
    if (!(condition)) [[unlikely]]                        \
      throw ::simsmoe::Error(::fmt::format(__VA_ARGS__)); \
  } while (false)
