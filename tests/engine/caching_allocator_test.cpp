#include "engine/caching_allocator.hpp"

#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "tests/engine/support.hpp"

using namespace simsmoe;

namespace {

// A device with little memory: enough to see the allocator run out of it.
class SmallDevice final : public DeviceRuntime {
 public:
  explicit SmallDevice(std::size_t bytes) : left_(bytes) {}
  void* allocate(std::size_t bytes) override {
    if (bytes > left_) return nullptr;
    left_ -= bytes;
    void* p = std::malloc(bytes);
    sizes_[p] = bytes;
    return p;
  }
  void deallocate(void* p) override {
    left_ += sizes_.at(p);
    sizes_.erase(p);
    std::free(p);
  }
  void copy(void* dst, Device, const void* src, Device, std::size_t bytes) override {
    std::memcpy(dst, src, bytes);
  }
  void fill_bytes(void* dst, int value, std::size_t bytes) override { std::memset(dst, value, bytes); }
  void synchronize() override {}
  std::string description() const override { return "small"; }
  MemoryInfo memory() const override { return {left_, left_}; }
  std::size_t blocks() const { return sizes_.size(); }

 private:
  std::size_t left_;
  std::map<void*, std::size_t> sizes_;
};

}  // namespace

TEST_CASE("allocator: buckets waste at most an eighth above 512 bytes, 63 bytes below") {
  for (std::size_t bytes = 0; bytes < 100'000; ++bytes) {
    const std::size_t size = CachingAllocator::bucket_size(bytes);
    REQUIRE(size >= bytes);
    REQUIRE(size >= 64);
    REQUIRE(size % 64 == 0);
    if (bytes > 512) REQUIRE((size - bytes) * 8 <= bytes);
    if (bytes >= 1 && bytes <= 512) REQUIRE(size - bytes < 64);
    REQUIRE(CachingAllocator::bucket_size(size) == size);
  }
  CHECK(CachingAllocator::bucket_size(std::size_t{1} << 40) == std::size_t{1} << 40);
}

TEST_CASE("allocator: a freed block is reused by a request of its bucket") {
  CachingAllocator a(runtime(kCpu), kCpu);
  void* first = a.allocate(1000);
  a.deallocate(first, 1000);
  CHECK(a.allocate(1010) == first);  // both are rounded to 1024
  void* other = a.allocate(5000);
  CHECK(other != first);
  CHECK(a.stats().allocations == 3);
  CHECK(a.stats().cache_hits == 1);
  a.deallocate(first, 1010);
  a.deallocate(other, 5000);
}

TEST_CASE("allocator: statistics and peak") {
  CachingAllocator a(runtime(kCpu), kCpu);
  void* x = a.allocate(1024);
  void* y = a.allocate(2048);
  CHECK(a.stats().in_use_bytes == 3072);
  CHECK(a.stats().peak_bytes == 3072);
  a.deallocate(y, 2048);
  CHECK(a.stats().in_use_bytes == 1024);
  CHECK(a.stats().peak_bytes == 3072);
  CHECK(a.stats().reserved_bytes == 3072);
  a.reset_peak();
  CHECK(a.stats().peak_bytes == 1024);
  a.flush();
  CHECK(a.stats().reserved_bytes == 1024);
  CHECK(a.stats().peak_reserved_bytes == 3072);
  a.reset_peak();
  CHECK(a.stats().peak_reserved_bytes == 1024);
  a.deallocate(x, 1024);
  CHECK(a.stats().in_use_bytes == 0);
}

TEST_CASE("allocator: what is reserved stays near the peak while sizes change from step to step") {
  CachingAllocator a(runtime(kCpu), kCpu);
  std::mt19937 random(1);
  std::uniform_int_distribution<std::size_t> tokens(1000, 3000);  // of an expert
  for (int step = 0; step < 2000; ++step) {
    std::vector<std::pair<void*, std::size_t>> kept;
    for (int i = 0; i < 16; ++i) kept.emplace_back(a.allocate(1 << 20), 1 << 20);  // the rest of the model
    for (int expert = 0; expert < 8; ++expert) {
      const std::size_t bytes = tokens(random) * 256;
      for (int tensor = 0; tensor < 4; ++tensor) kept.emplace_back(a.allocate(bytes), bytes);
      void* scratch = a.allocate(4 * bytes);
      a.deallocate(scratch, 4 * bytes);
    }
    for (const auto& [block, bytes] : kept) a.deallocate(block, bytes);
    REQUIRE(a.stats().in_use_bytes == 0);
    REQUIRE(a.stats().peak_reserved_bytes <= 1.3 * static_cast<double>(a.stats().peak_bytes));
  }
  CHECK(a.stats().cache_hits > a.stats().allocations / 2);
}

TEST_CASE("allocator: blocks of sizes that are seldom asked for go first, and only as many as must") {
  CachingAllocator a(runtime(kCpu), kCpu);
  const auto step = [&] {  // the peak: 4 blocks of 8192
    void* working[4];
    for (void*& block : working) block = a.allocate(8192);
    for (void* block : working) a.deallocate(block, 8192);
  };
  step();
  a.deallocate(a.allocate(4096), 4096);
  CHECK(a.stats().reserved_bytes == 4 * 8192 + 4096);  // 1.125 of the peak
  a.deallocate(a.allocate(4608), 4608);                // 1.27 would be more than 1.25
  CHECK(a.stats().reserved_bytes == 4 * 8192 + 4608);  // though the others had been free for longer
  auto hits = a.stats().cache_hits;
  step();
  a.deallocate(a.allocate(4608), 4608);
  CHECK(a.stats().cache_hits == hits + 5);

  // Of a size that is asked for often, the blocks beyond what is ever in use at once go, too.
  void* many[6];
  for (void*& block : many) block = a.allocate(8192);
  for (void* block : many) a.deallocate(block, 8192);
  CHECK(a.stats().reserved_bytes == 6 * 8192 + 4608);
  for (std::uint64_t i = 0; i < CachingAllocator::kWindow / 2; ++i) step();
  CHECK(a.stats().reserved_bytes == 5 * 8192);  // 1.25 of 4
}

TEST_CASE("allocator: a size that was asked for often is worth no more than others once it is not") {
  CachingAllocator a(runtime(kCpu), kCpu);
  void* rest = a.allocate(32768);
  const auto use = [&](std::size_t bytes) { a.deallocate(a.allocate(bytes), bytes); };
  for (std::uint64_t i = 0; i < 4 * CachingAllocator::kWindow; ++i) use(4096);
  for (std::uint64_t i = 0; i < 2 * CachingAllocator::kWindow; ++i) use(i % 1000 == 0 ? 4096 : 8192);
  CHECK(a.stats().reserved_bytes == 32768 + 4096 + 8192);
  const std::uint64_t hits = a.stats().cache_hits;
  use(9216);  // one of them has to go
  CHECK(a.stats().reserved_bytes == 32768 + 8192 + 9216);
  use(8192);
  CHECK(a.stats().cache_hits == hits + 1);
  a.deallocate(rest, 32768);
}

TEST_CASE("allocator: what a phase needed goes back when later ones need less") {
  CachingAllocator a(runtime(kCpu), kCpu);
  a.deallocate(a.allocate(1 << 20), 1 << 20);
  void* little = a.allocate(1024);
  for (std::uint64_t i = 0; i < CachingAllocator::kWindow / 2; ++i) a.deallocate(a.allocate(2048), 2048);
  CHECK(a.stats().reserved_bytes == (1 << 20) + 1024 + 2048);  // still within the window
  for (std::uint64_t i = 0; i < 2 * CachingAllocator::kWindow; ++i) a.deallocate(a.allocate(2048), 2048);
  CHECK(a.stats().reserved_bytes == 1024 + 2048);
  a.deallocate(little, 1024);
}

TEST_CASE("allocator: flushes its cache before it gives up") {
  SmallDevice device(10'000);
  {
    CachingAllocator a(device, kCpu);
    a.deallocate(a.allocate(6000), 6000);
    void* big = a.allocate(8000);  // fits only once the cached block is returned
    CHECK(device.blocks() == 1);
    const std::string message = testing::message_of<OutOfMemory>([&] { a.allocate(4000); });
    CHECK(testing::contains(message, "[allocator] out of memory: 4096 bytes wanted, 8192 in use"));
    a.deallocate(big, 8000);
    a.flush();
    void* kept = a.allocate(6144);
    a.deallocate(a.allocate(2048), 2048);
    void* last =
        a.allocate(3584);  // the bound would leave the free block, but the device has no room for both
    CHECK(device.blocks() == 2);
    a.deallocate(kept, 6144);
    a.deallocate(last, 3584);
  }
  CHECK(device.blocks() == 0);
}

#ifndef NDEBUG
TEST_CASE("allocator: debug builds notice a write behind a block") {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);
    CachingAllocator a(runtime(kCpu), kCpu);
    auto* block = static_cast<unsigned char*>(a.allocate(64));
    block[64] = 0;
    a.deallocate(block, 64);
    std::_Exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGABRT);
}
#endif
