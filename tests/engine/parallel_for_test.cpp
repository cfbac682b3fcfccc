#include "engine/parallel_for.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "engine/thread_pool.hpp"
#include "tests/engine/support.hpp"

using namespace simsmoe;

namespace {

class Threads {
 public:
  explicit Threads(int n) : before_(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before_); }

 private:
  int before_;
};

std::vector<std::pair<std::int64_t, std::int64_t>> pieces_of(std::int64_t n, std::int64_t grain) {
  std::vector<std::pair<std::int64_t, std::int64_t>> pieces;
  std::mutex mutex;
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const std::lock_guard lock(mutex);
    pieces.emplace_back(begin, end);
  });
  std::sort(pieces.begin(), pieces.end());
  return pieces;
}

// Waits for what another thread must do; false when that does not happen.
template <class Condition>
bool comes_true(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

}  // namespace

TEST_CASE("parallel_for: the pieces cover everything once, are large enough and repeatable") {
  for (const int threads : {1, 2, 3, 4}) {
    const Threads guard(threads);
    CHECK(num_threads() == threads);
    for (const std::int64_t n : {0, 1, 2, 7, 10, 1000}) {
      for (const std::int64_t grain : {0, 1, 3, 7, 5000}) {
        const auto pieces = pieces_of(n, grain);
        std::int64_t end = 0;
        for (const auto& piece : pieces) {
          CHECK(piece.first == end);
          CHECK(piece.second - piece.first >= std::min(n, grain));
          end = piece.second;
        }
        CHECK(end == n);
        CHECK(std::ssize(pieces) <= threads);
        CHECK(pieces == pieces_of(n, grain));
      }
    }
    CHECK(std::ssize(pieces_of(1000, 1)) == threads);
  }
}

TEST_CASE("parallel_for_dynamic: little work stays on the calling thread") {
  parallel_for_dynamic(8, 100, [](std::int64_t) { CHECK_FALSE(in_parallel()); });
}

TEST_CASE("ShareEveryLoop: two items are enough, and the loops are counted") {
  const Threads guard(2);
  CHECK(pieces_of(2, 5000).size() == 1);
  {
    const ShareEveryLoop sharing;
    CHECK(pieces_of(1, 5000).size() == 1);
    CHECK(sharing.loops() == 0);
    CHECK(pieces_of(2, 5000).size() == 2);
    parallel_for_dynamic(2, 100, [](std::int64_t) { CHECK(in_parallel()); });
    CHECK(sharing.loops() == 2);
  }
  CHECK(pieces_of(2, 5000).size() == 1);
}

TEST_CASE("parallel_for_dynamic: every item runs once") {
  for (const int threads : {1, 4}) {
    const Threads guard(threads);
    std::vector<std::atomic<int>> runs(100);
    parallel_for_dynamic(100, INT64_MAX, [&](std::int64_t i) { ++runs[static_cast<std::size_t>(i)]; });
    parallel_for_dynamic(0, INT64_MAX, [&](std::int64_t) { FAIL("nothing to do"); });
    for (const auto& r : runs) CHECK(r == 1);
  }
}

TEST_CASE("parallel_for: loops inside a loop run in line") {
  const Threads guard(4);
  std::atomic<int> inner_pieces{0}, outside{0};
  const auto body = [&] {
    if (!in_parallel()) ++outside;
    parallel_for(1000, 1,
                 [&](std::int64_t begin, std::int64_t end) { inner_pieces += begin == 0 && end == 1000; });
    parallel_for_dynamic(3, INT64_MAX, [&](std::int64_t) {});
  };
  parallel_for(4, 1, [&](std::int64_t, std::int64_t) { body(); });
  parallel_for_dynamic(4, INT64_MAX, [&](std::int64_t) { body(); });
  CHECK(inner_pieces == 8);
  CHECK(outside == 0);
  CHECK_FALSE(in_parallel());
}

TEST_CASE("parallel_for: the exception of the lowest piece arrives") {
  const Threads guard(4);
  const auto fail_at = [](std::int64_t first) { throw Error(fmt::format("piece {}", first)); };
  CHECK(testing::message_of([&] {
          parallel_for(400, 1, [&](std::int64_t begin, std::int64_t) {
            if (begin >= 100) fail_at(begin);
          });
        }) == "piece 100");
  CHECK(testing::message_of([&] {
          parallel_for_dynamic(400, INT64_MAX, [&](std::int64_t i) {
            if (i >= 100) fail_at(i);
          });
        }) == "piece 100");
  CHECK_THROWS_AS(set_num_threads(0), Error);
}

TEST_CASE("parallel_for: a thread that is held up holds up nothing but its own piece") {
  const Threads guard(2);
  const auto caller = std::this_thread::get_id();
  for (const bool hold_caller : {true, false}) {
    CAPTURE(hold_caller);
    std::atomic<int> done{0};
    std::atomic<bool> others_were_done{true}, held{false};
    parallel_for_dynamic(10, INT64_MAX, [&](std::int64_t) {
      const bool is_caller = std::this_thread::get_id() == caller;
      if (!is_caller && !held.exchange(true) && !hold_caller)
        others_were_done = comes_true([&] { return done == 9; });
      else if (is_caller && hold_caller)
        others_were_done = comes_true([&] { return done == 9; });
      else if (!hold_caller)  // the caller leaves one piece to the other thread
        comes_true([&] { return held.load(); });
      ++done;
    });
    CHECK(done == 10);
    CHECK(others_were_done);
  }
}

TEST_CASE("parallel_for: no more threads take part than are set, also after there were more") {
  for (const int threads : {4, 2}) {
    const Threads guard(threads);
    std::set<std::thread::id> seen;
    std::mutex mutex;
    std::atomic<int> waiting{0};
    parallel_for_dynamic(40, INT64_MAX, [&](std::int64_t) {
      ++waiting;
      comes_true([&] { return waiting >= threads; });  // all of them have come before any goes on
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    });
    CHECK(std::ssize(seen) == threads);
  }
}

TEST_CASE("parallel_for: two callers at once each have all their pieces run") {
  const Threads guard(3);
  std::vector<std::vector<std::atomic<int>>> runs(2);
  std::atomic<int> inside{0};
  std::vector<std::thread> callers;
  for (auto& mine : runs) {
    mine = std::vector<std::atomic<int>>(50);
    callers.emplace_back([&] {
      parallel_for_dynamic(50, INT64_MAX, [&](std::int64_t i) {
        if (i == 49) {  // neither caller ends before both have begun
          ++inside;
          CHECK(comes_true([&] { return inside == 2; }));
        }
        CHECK(in_parallel());
        ++mine[static_cast<std::size_t>(i)];
      });
      CHECK_FALSE(in_parallel());
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const auto& mine : runs)
    for (const auto& r : mine) CHECK(r == 1);
}

TEST_CASE("parallel_for: threads that wait sleep") {
  const Threads guard(4);
  CHECK(pieces_of(1000, 1).size() == 4);
  const double before = processor_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(processor_seconds() - before < 0.05);  // 0.2 to 0.6 when they keep looking for work
  // So does a caller that waits for the piece of another thread.
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> other_has_begun{false};
  double used = 0.0;
  parallel_for(2, 1, [&](std::int64_t, std::int64_t) {
    if (std::this_thread::get_id() == caller) {
      comes_true([&] { return other_has_begun.load(); });
      return;
    }
    other_has_begun = true;
    const double start = processor_seconds();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    used = processor_seconds() - start;
  });
  CHECK(other_has_begun);
  CHECK(used < 0.05);
}

TEST_CASE("parallel_for: threads look for work for a shorter time where other programs want the core") {
  const Threads guard(2);
  CHECK(pieces_of(1000, 1).size() == 2);  // the other thread has begun, and may run anywhere
  cpu_set_t before, one;
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  CPU_ZERO(&one);
  for (int core = 0; CPU_COUNT(&one) == 0; ++core)
    if (CPU_ISSET(core, &before)) CPU_SET(core, &one);
  REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
  std::atomic<bool> stop{false};
  std::thread other([&] {  // on the same core
    while (!stop) {
    }
  });
  const ThreadPool& pool = ThreadPool::instance();
  const bool noticed = comes_true([&] {
    pieces_of(1000, 1);
    return pool.spin_time() <= std::chrono::microseconds(20);
  });
  stop = true;
  other.join();
  CHECK(::sched_setaffinity(0, sizeof before, &before) == 0);
  CHECK(noticed);
}

TEST_CASE("parallel_for: the threads of the pool get no signals, and the caller those that it had") {
  const Threads guard(3);
  const auto blocked = [] {
    sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    return ::sigismember(&mask, SIGTERM) == 1 && ::sigismember(&mask, SIGINT) == 1;
  };
  const auto caller = std::this_thread::get_id();
  std::atomic<int> others{0}, open{0};
  parallel_for_dynamic(20, INT64_MAX, [&](std::int64_t) {
    if (std::this_thread::get_id() == caller) {
      comes_true([&] { return others > 0; });
      return;
    }
    ++others;
    open += blocked() ? 0 : 1;
  });
  CHECK(others > 0);
  CHECK(open == 0);
  CHECK_FALSE(blocked());
}
