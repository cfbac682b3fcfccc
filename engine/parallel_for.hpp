#pragma once
// Loops over the cores. The partition is a function of (n, grain, number of threads) alone, so a result that
// depends on it is repeatable for a given thread count; a kernel whose elements are independent gives the same
// bits for any. Which thread runs a piece is not fixed (engine/thread_pool.hpp). Inside a parallel loop further
// calls run in line.

#include <cstdint>

namespace simsmoe {

int num_threads();            // threads that loops may use; at first OMP_NUM_THREADS or the number of cores
void set_num_threads(int n);  // n >= 1
bool in_parallel();           // true inside a loop of more than one thread

// While one is alive, every loop of two items or more is shared among the threads, however little there is to
// do: the small inputs of a test then reach what big ones would.
class ShareEveryLoop {
 public:
  ShareEveryLoop();
  ~ShareEveryLoop();
  ShareEveryLoop(const ShareEveryLoop&) = delete;
  ShareEveryLoop& operator=(const ShareEveryLoop&) = delete;

  std::int64_t loops() const;  // that were shared since it began

 private:
  std::int64_t before_;
};

namespace detail {
bool share_every_loop();
void run_parallel(std::int64_t pieces, void (*call)(const void*, std::int64_t), const void* context);
}  // namespace detail

// f(begin, end) over contiguous pieces of [0, n), as many as threads; pieces have at least `grain` items
// unless n itself is smaller. An exception thrown by f is rethrown here (the one of the lowest piece).
template <class F>
void parallel_for(std::int64_t n, std::int64_t grain, const F& f) {
  if (n <= 0) return;
  const std::int64_t most = n / (grain > 0 && !detail::share_every_loop() ? grain : 1);
  const std::int64_t pieces = in_parallel() ? 1 : (most < num_threads() ? most : num_threads());
  if (pieces <= 1) return f(std::int64_t{0}, n);
  const auto piece = [&](std::int64_t i) { f(n * i / pieces, n * (i + 1) / pieces); };
  detail::run_parallel(
      pieces, [](const void* c, std::int64_t i) { (*static_cast<const decltype(piece)*>(c))(i); }, &piece);
}

// f(i) for every i in [0, n), handed out one by one as threads become free: for items of unequal cost whose
// results do not depend on each other (experts). Which thread runs an item is not fixed; what it computes is.
// `work`, the multiply-adds of all items together, keeps small loops on the calling thread, where waking the
// others would cost more than they save.
template <class F>
void parallel_for_dynamic(std::int64_t n, std::int64_t work, const F& f) {
  constexpr std::int64_t kWorthThreads = 1 << 17;  // about 5 microseconds of one core
  if (n <= 0) return;
  const bool worth_threads = work >= kWorthThreads || detail::share_every_loop();
  if (n == 1 || !worth_threads || in_parallel() || num_threads() == 1) {
    for (std::int64_t i = 0; i < n; ++i) f(i);
    return;
  }
  detail::run_parallel(
      n, [](const void* c, std::int64_t i) { (*static_cast<const F*>(c))(i); }, &f);
}

}  // namespace simsmoe
