#pragma once
// How long work shows itself while stderr is a terminal: one bar that is redrawn, with an estimate of the time left. It is
// taken away before each line of the log, and when the work ends. Elsewhere, under TERM=dumb and on less than 20 columns
// there is none; without colour where NO_COLOR says so (no-color.org).

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace simsmoe {

// A bar of one line. Bars nest: the one that was drawn last is seen.
class Progress {
 public:
  // `first`: what was done before, which says nothing about the speed.
  explicit Progress(std::string name, std::int64_t first = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Redrawn ten times a second at most, so that short work shows nothing. details: the most important first.
  void advance(std::int64_t done, std::int64_t total, const std::vector<std::string>& details = {});

  // Takes the bar away that is seen. May be called by a signal handler.
  static void erase();

 private:
  using Clock = std::chrono::steady_clock;

  std::string name_;
  std::int64_t first_;
  Clock::time_point start_ = Clock::now(), drawn_ = start_;
  bool shown_ = false;  // at least once
};

// Told how much is done, of how much; what it throws ends the work.
using Watch = std::function<void(std::int64_t done, std::int64_t total)>;

Watch watch(const std::string& name);  // a bar of that name

// The text of a bar, less than `columns` long: the share that is done, then as much as there is room for of the estimate,
// a bar and the details. seconds_left < 0: unknown.
std::string bar_text(const std::string& name, double share, double seconds_left,
                     const std::vector<std::string>& details, int columns);

std::string duration_text(double seconds);  // "0:42", "1:02:03"

}  // namespace simsmoe
