#include "engine/device.hpp"

#include <malloc.h>
#include <sys/sysinfo.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#if SIMSMOE_CUDA
#include "engine/cuda/cuda_runtime.hpp"
#endif

namespace simsmoe {

namespace {

class CpuRuntime final : public DeviceRuntime {
 public:
  // The system takes back what the cache of blocks gives up, but not at once: pages that go and come again within a few
  // steps cost a small model 5 % of its time.
  CpuRuntime() {
    ::mallopt(M_TRIM_THRESHOLD, 16 << 20);
    ::mallopt(M_MMAP_THRESHOLD, 4 << 20);
  }
  void* allocate(std::size_t bytes) override { return std::aligned_alloc(64, (bytes + 63) / 64 * 64); }
  void deallocate(void* pointer) override { std::free(pointer); }
  void copy(void* dst, Device, const void* src, Device, std::size_t bytes) override {
    if (bytes > 0) std::memmove(dst, src, bytes);  // the data() of an empty vector may be null
  }
  void fill_bytes(void* dst, int value, std::size_t bytes) override { std::memset(dst, value, bytes); }
  void synchronize() override {}

  std::string description() const override {
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);)
      if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    return "CPU";
  }

  MemoryInfo memory() const override {
    struct sysinfo info {};
    if (sysinfo(&info) != 0) return {};
    return {info.freeram * info.mem_unit, info.totalram * info.mem_unit};
  }
};

}  // namespace

std::string Device::to_string() const { return is_cpu() ? "cpu" : fmt::format("cuda:{}", index); }

Device device_from_name(const std::string& name) {
  if (name == "cpu") return kCpu;
  if (name == "cuda") return {DeviceType::cuda, 0};
  const std::string digits = name.starts_with("cuda:") ? name.substr(5) : "";
  if (digits.empty() || digits.size() > 3 || digits.find_first_not_of("0123456789") != std::string::npos)
    throw UserError(fmt::format("unknown device '{}': cpu, cuda or cuda:N", name));
  return {DeviceType::cuda, std::stoi(digits)};
}

DeviceRuntime& runtime(Device device) {
  static CpuRuntime cpu;
  if (device.is_cpu()) return cpu;
#if SIMSMOE_CUDA
  return cuda::device_runtime(device.index);
#else
  throw UserError(fmt::format("device {}: this build has no CUDA (configure with -DSIMSMOE_CUDA=ON)",
                              device.to_string()));
#endif
}

}  // namespace simsmoe
