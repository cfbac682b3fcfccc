#include "engine/cuda/cuda_runtime.hpp"

#include <cuda_runtime.h>

#include <memory>
#include <mutex>
#include <vector>

namespace simsmoe::cuda {

namespace {

void check(cudaError_t status, const char* what) {
  SMX_CHECK(status == cudaSuccess, "[cuda] {}: {}", what, cudaGetErrorString(status));
}

class CudaRuntime final : public DeviceRuntime {
 public:
  explicit CudaRuntime(int index) : index_(index) {}

  void* allocate(std::size_t bytes) override {
    select();
    void* pointer = nullptr;
    const cudaError_t status = cudaMalloc(&pointer, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // the error is reported by returning nullptr: do not leave it for the next launch
      return nullptr;
    }
    check(status, "cudaMalloc");
    return pointer;
  }

  void deallocate(void* pointer) override { cudaFree(pointer); }

  void copy(void* dst, Device, const void* src, Device, std::size_t bytes) override {
    select();
    check(cudaMemcpy(dst, src, bytes, cudaMemcpyDefault), "cudaMemcpy");
  }

  void fill_bytes(void* dst, int value, std::size_t bytes) override {
    select();
    check(cudaMemset(dst, value, bytes), "cudaMemset");
  }

  void synchronize() override {
    select();
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }

  std::string description() const override {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index_), "cudaGetDeviceProperties");
    return fmt::format("{} (compute capability {}.{})", properties.name, properties.major, properties.minor);
  }

  MemoryInfo memory() const override {
    select();
    MemoryInfo info;
    check(cudaMemGetInfo(&info.free_bytes, &info.total_bytes), "cudaMemGetInfo");
    return info;
  }

 private:
  void select() const { check(cudaSetDevice(index_), "cudaSetDevice"); }
  int index_;
};

}  // namespace

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

DeviceRuntime& device_runtime(int index) {
  static std::mutex mutex;
  static std::vector<std::unique_ptr<CudaRuntime>> runtimes;
  const std::lock_guard lock(mutex);
  if (runtimes.empty()) {
    const int count = device_count();
    for (int i = 0; i < count; ++i) runtimes.push_back(std::make_unique<CudaRuntime>(i));
  }
  if (index < 0 || static_cast<std::size_t>(index) >= runtimes.size())
    throw UserError(
        fmt::format("device cuda:{}: this machine has {} CUDA device(s)", index, runtimes.size()));
  return *runtimes[static_cast<std::size_t>(index)];
}

}  // namespace simsmoe::cuda
