// What signals do while a run lasts. A signal handler can reach nothing but a global.

#include "apps/interrupt.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>

namespace simsmoe::app {

namespace {

std::atomic<bool> requested{false}, ctrl_c_was{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void on_signal(int signal) {
  if (signal == SIGINT && ctrl_c_was.exchange(true)) {
    Progress::erase();
    ::_exit(kInterruptedExitCode);
  }
  requested = true;
}

// Under nohup nobody wants to hear of the terminal.
void (*unless_ignored(int signal, void (*handler)(int)))(int) {
  struct sigaction now {};
  ::sigaction(signal, nullptr, &now);
  return now.sa_handler == SIG_IGN ? SIG_IGN : handler;
}

// A stack for the handlers of this thread. On the usual one they would write over what oneDNN's kernels keep below the
// stack pointer (engine/cpu/README.md): wrong products, and writes to anywhere.
void need_alternate_stack() {
  thread_local std::array<std::byte, 1 << 16> memory;
  stack_t now{};
  if (::sigaltstack(nullptr, &now) != 0 || (now.ss_flags & SS_DISABLE) == 0) return;
  const stack_t stack{.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
  ::sigaltstack(&stack, nullptr);
}

}  // namespace

SignalHandler::SignalHandler(int signal, void (*handler)(int)) : signal_(signal), before_{} {
  need_alternate_stack();
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigaction(signal_, &action, &before_);
}

SignalHandler::~SignalHandler() { ::sigaction(signal_, &before_, nullptr); }

InterruptRequests::InterruptRequests()
    : ctrl_c_(SIGINT, on_signal),
      terminate_(SIGTERM, on_signal),
      hang_up_(SIGHUP, unless_ignored(SIGHUP, on_signal)) {}

InterruptRequests::~InterruptRequests() {
  requested = ctrl_c_was = false;  // they were for this command
}

bool InterruptRequests::pending() { return requested; }

Watch stoppable(const std::string& name) {
  return [bar = watch(name)](std::int64_t done, std::int64_t total) {
    if (requested) throw Interrupted();
    bar(done, total);
  };
}

}  // namespace simsmoe::app
