#include "engine/log.hpp"

#include <atomic>
#include <cstdio>

namespace simsmoe {

namespace {
std::atomic<bool> quiet_switch{false};
}  // namespace

void set_log_quiet(bool quiet) { quiet_switch = quiet; }

namespace detail {

void log_line(LogLevel level, std::string_view text) {
  if (level == LogLevel::info && quiet_switch) return;
  const std::string line = fmt::format("{}{}\n", level == LogLevel::warning ? "warning: " : "", text);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace detail

}  // namespace simsmoe
