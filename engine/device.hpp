#pragma once
// Where memory lies, and the seven calls that the engine needs of such a place.

#include <cstddef>
#include <string>

#include "engine/check.hpp"

namespace simsmoe {

enum class DeviceType : unsigned char { cpu, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;

  bool is_cpu() const { return type == DeviceType::cpu; }
  bool is_cuda() const { return type == DeviceType::cuda; }
  bool operator==(const Device&) const = default;
  std::string to_string() const;  // "cpu", "cuda:0"
};

inline constexpr Device kCpu{};

// "cpu", "cuda" or "cuda:1"; throws UserError on anything else.
Device device_from_name(const std::string& name);

struct MemoryInfo {
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
};

// The only virtual interface of the engine. Work on one device is ordered: one stream.
class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;
  virtual void* allocate(std::size_t bytes) = 0;  // 64-byte aligned; nullptr when out of memory
  virtual void deallocate(void* pointer) = 0;
  // Either side may be host memory; returns when the copy is done.
  virtual void copy(void* dst, Device dst_device, const void* src, Device src_device, std::size_t bytes) = 0;
  virtual void fill_bytes(void* dst, int value, std::size_t bytes) = 0;
  virtual void synchronize() = 0;
  virtual std::string description() const = 0;
  virtual MemoryInfo memory() const = 0;
};

// The runtime of a device. Throws UserError when there is no such device here.
DeviceRuntime& runtime(Device device);

}  // namespace simsmoe
