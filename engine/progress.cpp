// The cursor waits at the beginning of the bar: where a terminal that becomes narrower wraps it, all of it is below the
// cursor and is erased with "\x1b[J"; and what anybody else writes is written over it. Wrapping is off ("\x1b[?7l") while it is
// written: a terminal may be narrower already than it says (tmux tells a quarter of a second later).

#include "engine/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "engine/log.hpp"

namespace simsmoe {

namespace {

constexpr int kLeast = 20, kUnknown = 80;  // columns

std::atomic<bool> visible{false};
static_assert(std::atomic<bool>::is_always_lock_free);

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Of the terminal that stderr is now; 0 where no bar can be drawn.
int columns() {
  if (::isatty(STDERR_FILENO) != 1 || environment("TERM") == "dumb") return 0;
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUnknown;
  return size.ws_col < kLeast ? 0 : size.ws_col;
}

}  // namespace

Progress::Progress(std::string name, std::int64_t first) : name_(std::move(name)), first_(first) {}

Progress::~Progress() { erase(); }

void Progress::advance(std::int64_t done, std::int64_t total, const std::vector<std::string>& details) {
  const Clock::time_point now = Clock::now();
  if ((visible || !shown_) && now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  const int width = columns();
  if (width == 0) return erase();
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double left =
      done > first_ ? elapsed * static_cast<double>(total - done) / static_cast<double>(done - first_) : -1;
  std::string text =
      bar_text(name_, static_cast<double>(done) / static_cast<double>(total), left, details, width);
  if (const std::size_t begin = text.find('#');
      begin != std::string::npos && environment("NO_COLOR").empty()) {
    text.insert(text.find_first_not_of('#', begin), "\x1b[0m");
    text.insert(begin, "\x1b[36m");
  }
  shown_ = visible = true;
  write_to_stderr(fmt::format("\r\x1b[J\x1b[?7l{}\r\x1b[?7h", text));
}

void Progress::erase() {
  if (!visible.exchange(false)) return;
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, "\r\x1b[J", 4);
}

Watch watch(const std::string& name) {
  return [bar = std::make_shared<Progress>(name)](std::int64_t done, std::int64_t total) {
    bar->advance(done, total);
  };
}

std::string bar_text(const std::string& name, double share, double seconds_left,
                     const std::vector<std::string>& details, int columns) {
  constexpr int kShortest = 7, kLongest = 26;  // bars with their brackets
  share = std::clamp(share, 0.0, 1.0);
  std::string before = name.empty() ? "" : fmt::format("{} ", name),
              after = fmt::format("{:3.0f} %", std::floor(100.0 * share));
  const auto room = [&] { return columns - 1 - static_cast<int>(before.size() + after.size()); };
  const std::string left = seconds_left < 0.0 ? "" : fmt::format("  {} left", duration_text(seconds_left));
  if (room() < static_cast<int>(left.size())) before.clear();
  const int for_left = room() >= static_cast<int>(left.size()) ? static_cast<int>(left.size()) : 0;
  int bar = room() - for_left > kShortest ? kShortest + 1 : 0;
  for (const std::string& detail : details) {
    if (room() - for_left - bar < static_cast<int>(detail.size()) + 2) break;
    after += "  " + detail;
  }
  if (for_left > 0) after += left;
  if (bar > 0) {
    bar = std::min(kLongest, room() - 1);
    const auto cells = static_cast<std::size_t>(bar - 2);
    const auto filled = static_cast<std::size_t>(share * static_cast<double>(cells));
    before += fmt::format("[{:#<{}}{:.<{}}] ", "", filled, "", cells - filled);
  }
  return before + after;
}

std::string duration_text(double seconds) {
  const auto s = static_cast<std::int64_t>(std::llround(seconds));
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace simsmoe
