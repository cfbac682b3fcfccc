#pragma once
// Where the time goes: scoped timers per op and phase, off by default (one branch per op then). The result is
// a table of totals per op and, when a trace was asked for, a file that chrome://tracing and Perfetto read.

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace simsmoe::profile {

enum class Phase : unsigned char { forward, backward, other };

bool enabled();
void start(bool keep_events = false);  // resets; keep_events: remember every scope for write_chrome_trace
void stop();

// Times from construction to destruction under (name, phase). `name` must outlive the profile (a literal).
class Scope {
 public:
  explicit Scope(std::string_view name, Phase phase = Phase::forward) {
    if (enabled()) begin(name, phase);
  }
  ~Scope() {
    if (active_) end();
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  void begin(std::string_view name, Phase phase);
  void end();

  std::string_view name_;
  Phase phase_ = Phase::other;
  std::int64_t start_ns_ = 0;
  bool active_ = false;
};

// One row per (op, phase), largest first: calls, total ms, mean us, share. Nested scopes count in both.
void print_table(std::ostream& out);
void write_chrome_trace(const std::string& path);  // throws Error when the file cannot be written

}  // namespace simsmoe::profile
