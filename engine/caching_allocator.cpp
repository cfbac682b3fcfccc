#include "engine/caching_allocator.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>

#include "engine/log.hpp"

namespace simsmoe {

namespace {

#ifdef NDEBUG
constexpr std::size_t kSentinelBytes = 0;
#else
constexpr std::size_t kSentinelBytes = 64;
#endif
constexpr unsigned char kSentinel = 0xA5;

}  // namespace

std::size_t CachingAllocator::bucket_size(std::size_t bytes) {
  const std::size_t wanted = std::max<std::size_t>(bytes, 64);
  const std::size_t step = std::max<std::size_t>(std::bit_floor(wanted) / 8, 64);
  return (wanted + step - 1) / step * step;
}

void* CachingAllocator::allocate(std::size_t bytes) {
  const std::size_t size = bucket_size(bytes);
  const std::lock_guard lock(mutex_);
  ++stats_.allocations;
  void* block = nullptr;
  if (auto found = free_blocks_.find(size); found != free_blocks_.end() && !found->second.empty()) {
    block = found->second.back();
    found->second.pop_back();
    ++stats_.cache_hits;
  } else {
    block = runtime_.allocate(size + kSentinelBytes);
    if (block == nullptr) {  // the cache may hold what is missing, in blocks of other sizes
      flush_locked();
      block = runtime_.allocate(size + kSentinelBytes);
    }
    if (block == nullptr)
      throw OutOfMemory(
          fmt::format("[allocator] out of memory: {} bytes wanted, {} in use, {} bytes at the peak", size,
                      stats_.in_use_bytes, stats_.peak_bytes));
    stats_.reserved_bytes += size;
  }
  stats_.in_use_bytes += size;
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.in_use_bytes);
  if constexpr (kSentinelBytes > 0)
    runtime_.fill_bytes(static_cast<unsigned char*>(block) + size, kSentinel, kSentinelBytes);
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
  free_blocks_[size].push_back(pointer);
  stats_.in_use_bytes -= size;
}

void CachingAllocator::flush() {
  const std::lock_guard lock(mutex_);
  flush_locked();
}

void CachingAllocator::flush_locked() {
  for (auto& [size, blocks] : free_blocks_) {
    for (void* block : blocks) runtime_.deallocate(block);
    stats_.reserved_bytes -= size * blocks.size();
  }
  free_blocks_.clear();
}

AllocatorStats CachingAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.in_use_bytes;
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
