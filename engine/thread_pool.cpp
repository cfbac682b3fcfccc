#include "engine/thread_pool.hpp"

#include <pthread.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <system_error>
#include <thread>
#include <utility>

#include "engine/check.hpp"
#include "engine/log.hpp"

namespace simsmoe {

namespace {

using Clock = std::chrono::steady_clock;

// How long a thread that waits looks for work before it sleeps. Most loops of a training step follow the last one sooner
// than the long time, and to sleep and be woken costs more than many of them. But where other programs want the cores,
// too, a thread that looks for work takes the time that the others of this program need.
constexpr std::chrono::microseconds kLongSpin{100}, kShortSpin{10};
constexpr std::chrono::milliseconds kLookEvery{10};  // for other programs
constexpr std::uint64_t kOneJob = std::uint64_t{1} << 32, kPieces = kOneJob - 1;
constexpr int kCaller = -1;  // the index of the thread that called run()

thread_local bool inside_piece = false;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// How long this thread has waited for a core since it began, though it had work; 0 where the system does not say.
std::chrono::nanoseconds waited_for_a_core() {
  long long on_core = 0, waiting = 0;
  std::ifstream("/proc/thread-self/schedstat") >> on_core >> waiting;
  return std::chrono::nanoseconds(waiting);
}

// True as soon as ready(), false when it was not within `time`.
template <class Ready>
bool spin_until(const Ready& ready, std::chrono::microseconds time) {
  if (ready()) return true;
  const Clock::time_point end = Clock::now() + time;
  do {
    for (int i = 0; i < 16; ++i) {
      relax();
      if (ready()) return true;
    }
  } while (Clock::now() < end);
  return false;
}

}  // namespace

ThreadPool& ThreadPool::instance() {
  static ThreadPool& pool = *new ThreadPool;
  return pool;
}

bool ThreadPool::in_piece() { return inside_piece; }

void ThreadPool::run(std::int64_t pieces, int threads, Call call, const void* context) {
  SMX_CHECK(pieces >= 0 && pieces <= static_cast<std::int64_t>(kPieces), "[parallel_for] {} pieces", pieces);
  const bool was_inside = std::exchange(inside_piece, true);
  std::unique_lock job(one_job_, std::defer_lock);
  if (was_inside || threads <= 1 || !job.try_lock()) {
    for (std::int64_t i = 0; i < pieces; ++i) call(context, i);
    inside_piece = was_inside;
    return;
  }
  start_workers(threads - 1);
  look_for_other_programs();
  threads_.store(threads, std::memory_order_relaxed);
  call_.store(call, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  unfinished_.store(pieces, std::memory_order_relaxed);
  free_pieces_ = ((free_pieces_ & ~kPieces) + kOneJob) | static_cast<std::uint64_t>(pieces);
  if (sleeping_workers_ > 0) {
    { const std::lock_guard lock(sleep_); }  // who is about to sleep then sees the job or the notification
    pieces > 2 ? job_begins_.notify_all() : job_begins_.notify_one();
  }
  while (take_and_run(kCaller)) {
  }
  wait_for_workers();
  inside_piece = was_inside;
}

bool ThreadPool::can_take(int index) const { return (free_pieces_ & kPieces) > 0 && index < threads_ - 1; }

bool ThreadPool::take_and_run(int index) {
  std::uint64_t seen = free_pieces_;
  do {
    if ((seen & kPieces) == 0 || index >= threads_ - 1) return false;
  } while (!free_pieces_.compare_exchange_weak(seen, seen - 1));
  call_.load()(context_, static_cast<std::int64_t>((seen & kPieces) - 1));
  if (unfinished_.fetch_sub(1) == 1 && caller_sleeps_) {
    { const std::lock_guard lock(sleep_); }
    job_ends_.notify_one();
  }
  return true;
}

void ThreadPool::wait_for_workers() {
  const auto done = [this] { return unfinished_ == 0; };
  if (spin_until(done, spin_time())) return;
  std::unique_lock lock(sleep_);
  caller_sleeps_ = true;
  job_ends_.wait(lock, done);
  caller_sleeps_ = false;
}

std::chrono::microseconds ThreadPool::spin_time() const { return machine_is_busy_ ? kShortSpin : kLongSpin; }

void ThreadPool::look_for_other_programs() {
  const Clock::time_point now = Clock::now();
  if (now - last_look_ < kLookEvery) return;
  const std::chrono::nanoseconds waited = waited_for_a_core();
  machine_is_busy_ = waited - waited_ > (now - last_look_) / 10;
  last_look_ = now;
  waited_ = waited;
}

void ThreadPool::start_workers(int count) {
  if (workers_ >= count || !can_start_) return;
  sigset_t all, before;  // signals are for the threads of the program that embeds this one
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    for (; workers_ < count; ++workers_) std::thread([this, index = workers_] { work(index); }).detach();
  } catch (const std::system_error& error) {  // the pieces are the same with fewer threads
    log_warn("[parallel_for] {} of {} threads could be started: {}", workers_ + 1, count + 1, error.what());
    can_start_ = false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void ThreadPool::work(int index) {
  inside_piece = true;
  const auto ready = [&] { return can_take(index); };
  for (;;) {
    while (take_and_run(index)) {
    }
    if (spin_until(ready, spin_time())) continue;
    std::unique_lock lock(sleep_);
    ++sleeping_workers_;
    job_begins_.wait(lock, ready);
    --sleeping_workers_;
  }
}

}  // namespace simsmoe
