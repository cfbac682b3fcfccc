#include "engine/log.hpp"

#include <cstdio>

#include "engine/printable.hpp"
#include "engine/progress.hpp"

namespace simsmoe {

// fmt::print would throw where the other end is closed.
void write_to_stderr(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

void detail::log_line(LogLevel level, std::string_view text) {
  Progress::erase();
  write_to_stderr(fmt::format("{}{}\n", level == LogLevel::warning ? "warning: " : "", printable(text)));
}

}  // namespace simsmoe
