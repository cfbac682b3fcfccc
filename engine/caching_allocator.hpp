#pragma once
// Memory blocks are kept and reused: a training step frees what it allocated, and the next one asks for
// nearly the same sizes. Sizes are rounded up to eighths of a power of two (at most 12.5 % waste above 512
// bytes, steps of 64 bytes below), so that the token counts of experts, which change every step, still find
// their block. Debug builds put 64 sentinel bytes behind each block and verify them when it is freed.

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "engine/check.hpp"
#include "engine/device.hpp"

namespace simsmoe {

struct AllocatorStats {
  std::size_t in_use_bytes = 0;    // handed out now, after rounding
  std::size_t peak_bytes = 0;      // highest in_use_bytes since the start or reset_peak()
  std::size_t reserved_bytes = 0;  // in_use_bytes + cached free blocks
  std::uint64_t allocations = 0;   // calls of allocate()
  std::uint64_t cache_hits = 0;    // of which served from the cache
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

 private:
  void flush_locked();

  DeviceRuntime& runtime_;
  Device device_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_blocks_;  // bucket size -> blocks
  AllocatorStats stats_;
};

// The allocator of a device; lives until the process ends.
CachingAllocator& allocator(Device device);

}  // namespace simsmoe
