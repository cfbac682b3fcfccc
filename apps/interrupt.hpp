#pragma once
// What ends a training early: Ctrl-C, SIGTERM, or a terminal that is closed (SIGHUP) asks the running command to finish its
// step and save; a second Ctrl-C ends the program at once. (Not a second one of the others: a closing terminal and `timeout`
// send theirs twice.)

#include <csignal>
#include <string>

#include "engine/check.hpp"
#include "engine/progress.hpp"

namespace simsmoe::app {

// The work ends here because somebody asked for it.
class Interrupted : public Error {
 public:
  Interrupted() : Error("interrupted") {}
};

// While it exists, the signal has this handler; afterwards the one that it had before. The handler runs on a stack of its
// own, on the thread that made this; other threads of the program that compute must not get signals (the pool's do not).
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

// A bar of that name, whose work an interrupt ends: throws Interrupted.
Watch stoppable(const std::string& name);

inline constexpr int kInterruptedExitCode = 130;

}  // namespace simsmoe::app
