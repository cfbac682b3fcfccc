#pragma once
// Memory blocks are kept and reused: a training step frees what it allocated, and the next one asks for
// nearly the same sizes. Sizes are rounded up to eighths of a power of two (at most 12.5 % waste above 512
// bytes, steps of 64 bytes below), so that the token counts of experts, which change every step, still find
// their block. The cache is bounded: what is reserved stays within 1.25 times the recent peak of what is in use, and
// blocks of sizes that are seldom asked for go back to the device first. Debug builds put 64 sentinel bytes behind each
// block and verify them when it is freed.

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <vector>

#include "engine/check.hpp"
#include "engine/device.hpp"

namespace simsmoe {

struct AllocatorStats {
  std::size_t in_use_bytes = 0;         // handed out now, after rounding
  std::size_t peak_bytes = 0;           // highest in_use_bytes since the start or reset_peak()
  std::size_t reserved_bytes = 0;       // in_use_bytes + cached free blocks
  std::size_t peak_reserved_bytes = 0;  // highest reserved_bytes since the start or reset_peak()
  std::uint64_t allocations = 0;        // calls of allocate()
  std::uint64_t cache_hits = 0;         // of which served from the cache
};

// A device has no more memory; the message has the numbers. What would help is known above.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

class CachingAllocator {
 public:
  CachingAllocator(DeviceRuntime& runtime, Device device) : runtime_(runtime), device_(device) {}
  ~CachingAllocator() { flush(); }
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  // Throws OutOfMemory with the statistics when the device is out of memory even after flushing the cache.
  void* allocate(std::size_t bytes);
  void deallocate(void* pointer, std::size_t bytes);  // bytes as passed to allocate()
  void flush();                                       // returns the cached blocks to the device
  AllocatorStats stats() const;
  void reset_peak();

  static std::size_t bucket_size(std::size_t bytes);  // what a request is rounded up to

  // The recent peak covers this many calls of allocate(), dozens of training steps, and at most twice as many.
  static constexpr std::uint64_t kWindow = 1 << 16;

 private:
  static constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();
  struct FreeBlock {
    void* pointer;
    std::size_t size;
    std::uint64_t freed_at;  // in calls of allocate()
  };

  void* reserve(std::size_t size);  // a new block; nullptr when the device has no memory for it
  // Returns blocks to the device until at most `bytes` are reserved or none is free.
  void shrink_to(std::size_t bytes);
  std::uint64_t worth_keeping(std::size_t bucket) const;  // of its oldest free block; kNone: there is none

  DeviceRuntime& runtime_;
  Device device_;
  mutable std::mutex mutex_;
  static constexpr std::size_t kBuckets = 8 * 56;             // of up to 2^64 bytes
  std::array<std::vector<FreeBlock>, kBuckets> free_blocks_;  // oldest first
  std::array<std::uint64_t, kBuckets> uses_{},
      last_uses_{};  // calls of allocate() in this and the last window
  AllocatorStats stats_;
  std::size_t window_peak_ = 0, last_window_peak_ = 0;  // highest in_use_bytes of this and the last window
};

// The allocator of a device; lives until the process ends.
CachingAllocator& allocator(Device device);

}  // namespace simsmoe
