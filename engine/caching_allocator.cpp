#include "engine/caching_allocator.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <map>
#include <utility>

#include "engine/log.hpp"

namespace simsmoe {

namespace {

#ifdef NDEBUG
constexpr std::size_t kSentinelBytes = 0;
#else
constexpr std::size_t kSentinelBytes = 64;
#endif
constexpr unsigned char kSentinel = 0xA5;

// The most to reserve when `peak` bytes were in use.
constexpr std::size_t bound(std::size_t peak) { return peak + peak / 4; }

// The index of a size that bucket_size() gave: eight of each power of two.
std::size_t bucket_of(std::size_t size) {
  if (size <= 512) return size / 64 - 1;
  const auto log = static_cast<std::size_t>(std::bit_width(size - 1) - 1);  // size in (2^log, 2^(log + 1)]
  return 8 * (log - 8) + ((size - 1) >> (log - 3)) % 8;
}

}  // namespace

std::size_t CachingAllocator::bucket_size(std::size_t bytes) {
  const std::size_t wanted = std::max<std::size_t>(bytes, 64);
  const std::size_t step = std::max<std::size_t>(std::bit_floor(wanted) / 8, 64);
  return (wanted + step - 1) / step * step;
}

void* CachingAllocator::allocate(std::size_t bytes) {
  const std::size_t size = bucket_size(bytes);
  const std::lock_guard lock(mutex_);
  if (++stats_.allocations % kWindow == 0) {
    last_window_peak_ = std::exchange(window_peak_, stats_.in_use_bytes);
    last_uses_ = std::exchange(uses_, {});
    shrink_to(bound(std::max(window_peak_, last_window_peak_)));
  }
  void* block = nullptr;
  const std::size_t bucket = bucket_of(size);
  ++uses_[bucket];
  if (std::vector<FreeBlock>& blocks = free_blocks_[bucket]; !blocks.empty()) {
    block = blocks.back().pointer;
    blocks.pop_back();
    ++stats_.cache_hits;
  } else if (block = reserve(size); block == nullptr) {
    throw OutOfMemory(
        fmt::format("[allocator] out of memory: {} bytes wanted, {} in use, {} bytes at the peak", size,
                    stats_.in_use_bytes, stats_.peak_bytes));
  }
  stats_.in_use_bytes += size;
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.in_use_bytes);
  window_peak_ = std::max(window_peak_, stats_.in_use_bytes);
  if constexpr (kSentinelBytes > 0)
    runtime_.fill_bytes(static_cast<unsigned char*>(block) + size, kSentinel, kSentinelBytes);
  return block;
}

void* CachingAllocator::reserve(std::size_t size) {
  shrink_to(bound(std::max({window_peak_, last_window_peak_, stats_.in_use_bytes + size})) - size);
  void* block = runtime_.allocate(size + kSentinelBytes);
  if (block == nullptr) {  // the cache may hold what is missing, in blocks of other sizes
    shrink_to(0);
    block = runtime_.allocate(size + kSentinelBytes);
  }
  if (block != nullptr) stats_.reserved_bytes += size;
  stats_.peak_reserved_bytes = std::max(stats_.peak_reserved_bytes, stats_.reserved_bytes);
  return block;
}

void CachingAllocator::deallocate(void* pointer, std::size_t bytes) {
  const std::size_t size = bucket_size(bytes);
  if constexpr (kSentinelBytes > 0) {
    std::array<unsigned char, kSentinelBytes> tail;
    runtime_.copy(tail.data(), kCpu, static_cast<unsigned char*>(pointer) + size, device_, kSentinelBytes);
    if (std::ranges::any_of(tail, [](unsigned char b) { return b != kSentinel; })) {
      log_warn("[allocator] something wrote behind a block of {} bytes", bytes);
      std::abort();  // reached from destructors: there is nobody to throw to
    }
  }
  const std::lock_guard lock(mutex_);
  free_blocks_[bucket_of(size)].push_back({.pointer = pointer, .size = size, .freed_at = stats_.allocations});
  stats_.in_use_bytes -= size;
}

void CachingAllocator::flush() {
  const std::lock_guard lock(mutex_);
  shrink_to(0);
}

// Which size a training step asks for next is what it asked for in the steps before. (The block that was free the longest
// is a bad choice: every step goes through the same sizes, and it is the one that is due.)
std::uint64_t CachingAllocator::worth_keeping(std::size_t bucket) const {
  const std::vector<FreeBlock>& blocks = free_blocks_[bucket];
  if (blocks.empty()) return kNone;
  const bool needed =
      stats_.allocations - blocks.front().freed_at < kWindow;  // else there are more than are used
  return needed ? uses_[bucket] + last_uses_[bucket] : 0;
}

void CachingAllocator::shrink_to(std::size_t bytes) {
  while (stats_.reserved_bytes > bytes) {
    std::size_t least = 0;
    for (std::size_t bucket = 1; bucket < kBuckets; ++bucket)
      if (worth_keeping(bucket) < worth_keeping(least)) least = bucket;
    std::vector<FreeBlock>& blocks = free_blocks_[least];
    if (blocks.empty()) return;
    runtime_.deallocate(blocks.front().pointer);
    stats_.reserved_bytes -= blocks.front().size;
    blocks.erase(blocks.begin());
  }
}

AllocatorStats CachingAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.in_use_bytes;
  stats_.peak_reserved_bytes = stats_.reserved_bytes;
}

CachingAllocator& allocator(Device device) {
  // Never destroyed: tensors in static storage may outlive any order of destruction that could be chosen.
  static std::mutex mutex;
  static auto& allocators = *new std::map<std::pair<DeviceType, int>, CachingAllocator*>;
  const std::lock_guard lock(mutex);
  CachingAllocator*& slot = allocators[{device.type, device.index}];
  if (slot == nullptr) slot = new CachingAllocator(runtime(device), device);
  return *slot;
}

}  // namespace simsmoe
