#include "engine/parallel_for.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

#include "engine/check.hpp"
#include "engine/thread_pool.hpp"

namespace simsmoe {

namespace {
bool every_loop = false;  // a ShareEveryLoop is alive
std::atomic<std::int64_t> shared_loops{0};

int threads_at_first() {
  const char* wanted = std::getenv("OMP_NUM_THREADS");
  const int n = wanted != nullptr ? std::atoi(wanted) : 0;
  return n >= 1 ? n : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::atomic<int>& threads() {
  static std::atomic<int> n{threads_at_first()};
  return n;
}

}  // namespace

int num_threads() { return threads(); }

void set_num_threads(int n) {
  SMX_CHECK(n >= 1, "[parallel_for] at least one thread, got {}", n);
  threads() = n;
}

bool in_parallel() { return ThreadPool::in_piece(); }

ShareEveryLoop::ShareEveryLoop() : before_(shared_loops) {
  SMX_CHECK(!every_loop, "[parallel_for] expected one ShareEveryLoop at a time");
  every_loop = true;
}

ShareEveryLoop::~ShareEveryLoop() { every_loop = false; }

std::int64_t ShareEveryLoop::loops() const { return shared_loops - before_; }

namespace detail {

bool share_every_loop() { return every_loop; }

void run_parallel(std::int64_t pieces, void (*call)(const void*, std::int64_t), const void* context) {
  ++shared_loops;
  std::mutex mutex;
  std::exception_ptr failure;  // exceptions must not leave a thread
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
  ThreadPool::instance().run(
      pieces, num_threads(),
      [](const void* c, std::int64_t i) { (*static_cast<const decltype(guarded)*>(c))(i); }, &guarded);
  if (failure) std::rethrow_exception(failure);
}

}  // namespace detail

}  // namespace simsmoe
