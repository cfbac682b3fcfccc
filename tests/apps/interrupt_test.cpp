// Signals as requests, and as what they were before.

#include "apps/interrupt.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <functional>
#include <optional>
#include <vector>

#include "engine/cpu/gemm.hpp"
#include "engine/parallel_for.hpp"
#include "engine/tensor.hpp"

using namespace simsmoe;
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

Tensor drawn(std::int64_t rows, std::int64_t columns, float phase) {
  Tensor x = Tensor::empty({rows, columns}, DType::f32);
  int i = 0;
  for (float& value : x.host<float>()) value = std::sin(static_cast<float>(++i % 1009) + phase);
  return x;
}

// In the forms and sizes of a small model: y = x W^T, dx = dy W, dW = dy^T x.
std::vector<float> products() {
  using cpu::Transpose;
  std::vector<float> all;
  for (const std::int64_t in : {64, 256})
    for (const std::int64_t out : {64, 256}) {
      const Tensor x = drawn(32, in, 0.0f), weight = drawn(out, in, 0.5f),
                   y = Tensor::empty({32, out}, DType::f32), dx = Tensor::empty_like(x),
                   dw = Tensor::empty_like(weight);
      const float *xs = x.data<float>(), *w = weight.data<float>();
      float* ys = y.data<float>();
      cpu::gemm(Transpose::none, Transpose::transposed, 32, out, in, xs, in, w, in, ys, out, false);
      cpu::gemm(Transpose::none, Transpose::none, 32, in, out, ys, out, w, in, dx.data<float>(), in, false);
      cpu::gemm(Transpose::transposed, Transpose::none, out, in, 32, ys, out, xs, in, dw.data<float>(), in,
                false);
      for (const Tensor& result : {y, dx, dw})
        for (const float value : result.to_vector<float>()) all.push_back(value);
    }
  return all;
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

TEST_CASE("a signal that arrives during a product changes no product") {
  static volatile std::sig_atomic_t arrived = 0;
  const auto process = [] {
    set_num_threads(1);  // a forked process has no others
    const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    ::sigaltstack(&none, nullptr);  // doctest's own
    const SignalHandler handler(SIGALRM, [](int) { arrived = arrived + 1; });
    const std::vector<float> expected = products();
    const itimerval often{.it_interval = {0, 100}, .it_value = {0, 100}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    while (arrived < 1000)
      if (products() != expected) ::_exit(1);
    const itimerval never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
  };
  CHECK(exit_code_of(process) == 0);
}
