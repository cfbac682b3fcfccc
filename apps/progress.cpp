// One line that is written over on a terminal, lines of their own elsewhere.

#include "apps/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>

#include "engine/log.hpp"

namespace simsmoe::app {

namespace {
constexpr int kBarWidth = 24;
}  // namespace

Progress::Progress(std::int64_t first_step, std::int64_t steps)
    : first_step_(first_step), steps_(steps), terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { clear(); }

void Progress::advance(std::int64_t step, const std::string& status) {
  if (!terminal_) return;
  const Clock::time_point now = Clock::now();
  if (visible_ && step < steps_ && now - drawn_ < std::chrono::milliseconds(100)) return;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const auto done = static_cast<double>(step - first_step_), left = static_cast<double>(steps_ - step);
  const auto filled = static_cast<std::size_t>(kBarWidth * step / steps_);
  const std::string bar =
      std::string(filled, '#') + std::string(static_cast<std::size_t>(kBarWidth) - filled, '.');
  write_to_stderr(fmt::format("\r\x1b[K[{}] {}/{}  {}  {} left", bar, step, steps_, status,
                              duration_text(elapsed / done * left)));
  drawn_ = now;
  visible_ = true;
}

void Progress::line(const std::string& text) {
  clear();
  log_info("{}", text);
}

void Progress::clear() {
  if (visible_) write_to_stderr("\r\x1b[K");
  visible_ = false;
}

std::string duration_text(double seconds) {
  const auto s = static_cast<std::int64_t>(std::llround(seconds));
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace simsmoe::app
