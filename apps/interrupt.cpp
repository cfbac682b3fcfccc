// What SIGINT and SIGTERM do while a run lasts. A signal handler can reach nothing but a global.

#include "apps/interrupt.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace simsmoe::app {

namespace {

std::atomic<int> requests{0};
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int) {
  if (requests.fetch_add(1) > 0) ::_exit(kInterruptedExitCode);
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

InterruptRequests::InterruptRequests() {
  requests = 0;
  handle(SIGINT, on_signal);
  handle(SIGTERM, on_signal);
}

InterruptRequests::~InterruptRequests() {
  handle(SIGINT, SIG_DFL);
  handle(SIGTERM, SIG_DFL);
  requests = 0;  // they were for this command
}

bool InterruptRequests::pending() { return requests > 0; }

}  // namespace simsmoe::app
