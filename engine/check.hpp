#pragma once
// Errors. Every precondition of a public function is checked in every build with SMX_CHECK; the message
// begins with the name of the op in brackets, says what was expected and shows what came:
//
//   SMX_CHECK(is_float(x.dtype()), "[softmax] expected a float tensor, got {}", describe(x));

#include <fmt/format.h>

#include <source_location>
#include <stdexcept>
#include <string>

namespace simsmoe {

// A broken contract, a failed allocation, a bug: the program ends with exit code 1.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, std::source_location where = std::source_location::current())
      : std::runtime_error(message), where_(where) {}
  const std::source_location& where() const { return where_; }

 private:
  std::source_location where_;
};

// Something that the person at the keyboard can mend (a config value, a missing file): exit code 2.
class UserError : public Error {
 public:
  // Not `using Error::Error`: nvcc 13 aborts on an inherited constructor whose default argument is a call.
  explicit UserError(const std::string& message, std::source_location where = std::source_location::current())
      : Error(message, where) {}
};

}  // namespace simsmoe

#define SMX_CHECK(condition, ...)                         \
  do {                                                    \
    if (!(condition)) [[unlikely]]                        \
      throw ::simsmoe::Error(::fmt::format(__VA_ARGS__)); \
  } while (false)
