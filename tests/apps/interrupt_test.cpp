// Signals as requests, and as what they were before.

#include "apps/interrupt.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <optional>

using namespace simsmoe::app;

namespace {

void mine(int) {}

bool has_handler(int signal, void (*handler)(int)) {
  struct sigaction now {};
  ::sigaction(signal, nullptr, &now);
  return now.sa_handler == handler;
}

// The exit code of a process of its own that does this, 0 when it comes to its end.
int exit_code_of(const std::function<void()>& what) {
  const pid_t process = ::fork();
  if (process == 0) {
    what();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(process, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

TEST_CASE("interrupts are requests for a while, and then what they were") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    CAPTURE(signal);
    const SignalHandler before(signal, mine);
    {
      const InterruptRequests requests;
      CHECK_FALSE(has_handler(signal, mine));
      CHECK_FALSE(InterruptRequests::pending());
      ::raise(signal);
      CHECK(InterruptRequests::pending());
    }
    CHECK(has_handler(signal, mine));
    CHECK_FALSE(InterruptRequests::pending());
  }
  const SignalHandler before(SIGPIPE, mine);
  {
    const SignalHandler nobody(SIGPIPE, SIG_IGN);
    CHECK(has_handler(SIGPIPE, SIG_IGN));
  }
  CHECK(has_handler(SIGPIPE, mine));
}

TEST_CASE("SIGHUP stays ignored where it was, the others do not") {
  const SignalHandler hang_up(SIGHUP, SIG_IGN), terminate(SIGTERM, SIG_IGN);
  const InterruptRequests requests;
  ::raise(SIGHUP);
  CHECK_FALSE(InterruptRequests::pending());
  ::raise(SIGTERM);
  CHECK(InterruptRequests::pending());
}

TEST_CASE("a second ctrl-C ends the program at once, a second one of the others does not") {
  const auto twice = [](int first, int second) {
    return exit_code_of([=] {
      const InterruptRequests requests;
      ::raise(first);
      ::raise(second);
    });
  };
  CHECK(twice(SIGINT, SIGINT) == kInterruptedExitCode);
  CHECK(twice(SIGTERM, SIGTERM) == 0);
  CHECK(twice(SIGHUP, SIGHUP) == 0);
  CHECK(twice(SIGTERM, SIGINT) == 0);
}
