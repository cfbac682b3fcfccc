#include "engine/log.hpp"

#include <cstdio>

namespace simsmoe {

// fmt::print would throw where the other end is closed.
void write_to_stderr(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

void detail::log_line(LogLevel level, std::string_view text) {
  write_to_stderr(fmt::format("{}{}\n", level == LogLevel::warning ? "warning: " : "", text));
}

}  // namespace simsmoe
