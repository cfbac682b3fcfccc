#pragma once
// How a training shows itself on stderr: on a terminal one bar that is redrawn, with an estimate of the time
// left, and the rarer lines above it; elsewhere plain lines only.

#include <chrono>
#include <cstdint>
#include <string>

namespace simsmoe::app {

class Progress {
 public:
  // Shows steps first_step + 1 .. steps.
  Progress(std::int64_t first_step, std::int64_t steps);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  bool on_terminal() const { return terminal_; }
  void advance(std::int64_t step, const std::string& status);  // the bar; redrawn ten times a second at most
  void line(const std::string& text);                          // a line that stays

 private:
  using Clock = std::chrono::steady_clock;
  void clear();

  std::int64_t first_step_, steps_;
  Clock::time_point start_ = Clock::now(), drawn_{};
  bool terminal_, visible_ = false;
};

std::string duration_text(double seconds);  // "0:42", "1:02:03"

}  // namespace simsmoe::app
