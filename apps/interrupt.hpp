#pragma once
// What ends a training early: Ctrl-C, SIGTERM, or a terminal that is closed (SIGHUP) asks the running command to finish its
// step and save; a second Ctrl-C ends the program at once. (Not a second one of the others: a closing terminal and `timeout`
// send theirs twice.)

#include <csignal>

namespace simsmoe::app {

// While it exists, the signal has this handler; afterwards the one that it had before.
class SignalHandler {
 public:
  SignalHandler(int signal, void (*handler)(int));
  ~SignalHandler();
  SignalHandler(const SignalHandler&) = delete;
  SignalHandler& operator=(const SignalHandler&) = delete;

 private:
  int signal_;
  struct sigaction before_;
};

// While one exists, interrupts are requests; afterwards they are what they were before.
class InterruptRequests {
 public:
  InterruptRequests();
  ~InterruptRequests();
  InterruptRequests(const InterruptRequests&) = delete;
  InterruptRequests& operator=(const InterruptRequests&) = delete;

  static bool pending();

 private:
  SignalHandler ctrl_c_, terminate_, hang_up_;
};

inline constexpr int kInterruptedExitCode = 130;

}  // namespace simsmoe::app
