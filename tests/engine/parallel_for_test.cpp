#include "engine/parallel_for.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

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
