#include "engine/parallel_for.hpp"

#include <omp.h>

#include <atomic>
#include <exception>
#include <limits>
#include <mutex>

#include "engine/check.hpp"

namespace simsmoe {

namespace {
bool every_loop = false;  // a ShareEveryLoop is alive
std::atomic<std::int64_t> shared_loops{0};
}  // namespace

int num_threads() { return omp_get_max_threads(); }

void set_num_threads(int n) {
  SMX_CHECK(n >= 1, "[parallel_for] at least one thread, got {}", n);
  omp_set_num_threads(n);
}

bool in_parallel() { return omp_in_parallel() != 0; }

ShareEveryLoop::ShareEveryLoop() : before_(shared_loops) {
  SMX_CHECK(!every_loop, "[parallel_for] expected one ShareEveryLoop at a time");
  every_loop = true;
}

ShareEveryLoop::~ShareEveryLoop() { every_loop = false; }

std::int64_t ShareEveryLoop::loops() const { return shared_loops - before_; }

namespace detail {

bool share_every_loop() { return every_loop; }

void run_parallel(std::int64_t chunks, bool dynamic, void (*call)(const void*, std::int64_t),
                  const void* context) {
  ++shared_loops;
  std::mutex mutex;
  std::exception_ptr failure;  // exceptions must not leave an OpenMP region
  std::int64_t failed = std::numeric_limits<std::int64_t>::max();
  const auto guarded = [&](std::int64_t i) {
    try {
      call(context, i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (i < failed) {
        failed = i;
        failure = std::current_exception();
      }
    }
  };
  if (dynamic) {
#pragma omp parallel for schedule(dynamic, 1)
    for (std::int64_t i = 0; i < chunks; ++i) guarded(i);
  } else {
#pragma omp parallel for schedule(static, 1)
    for (std::int64_t i = 0; i < chunks; ++i) guarded(i);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace detail

}  // namespace simsmoe
