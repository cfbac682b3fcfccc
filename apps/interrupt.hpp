#pragma once
// Ctrl-C: the first request asks the running command to finish its step and save; the second ends the program
// at once. SIGTERM counts as a request too.

namespace simsmoe::app {

// While one exists, interrupts are requests; afterwards they are what they were before.
class InterruptRequests {
 public:
  InterruptRequests();
  ~InterruptRequests();
  InterruptRequests(const InterruptRequests&) = delete;
  InterruptRequests& operator=(const InterruptRequests&) = delete;

  static bool pending();
};

inline constexpr int kInterruptedExitCode = 130;

}  // namespace simsmoe::app
