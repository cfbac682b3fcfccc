#include "engine/log.hpp"

#include <cstdio>

namespace simsmoe::detail {

void log_line(LogLevel level, std::string_view text) {
  const std::string line = fmt::format("{}{}\n", level == LogLevel::warning ? "warning: " : "", text);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace simsmoe::detail
