#pragma once
// Lines for the person at the terminal, on stderr: stdout belongs to results. Nothing outside of apps prints
// in any other way. Each line leaves in one write, so lines of several threads do not mix, and control bytes in it are shown
// as \xNN (printable.hpp). The bar of a Progress gives way to them. A stderr that nobody reads any more is no error.

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace simsmoe {

// To stderr, as it is.
void write_to_stderr(std::string_view text);

namespace detail {
enum class LogLevel : unsigned char { info, warning };
void log_line(LogLevel level, std::string_view text);
}  // namespace detail

// log_info("read {} tensors from {}", n, path): one line; the newline is added.
template <class... Arguments>
void log_info(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  detail::log_line(detail::LogLevel::info, fmt::format(format, std::forward<Arguments>(arguments)...));
}

// The same behind "warning: ".
template <class... Arguments>
void log_warn(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  detail::log_line(detail::LogLevel::warning, fmt::format(format, std::forward<Arguments>(arguments)...));
}

}  // namespace simsmoe
