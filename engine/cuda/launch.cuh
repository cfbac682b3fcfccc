#pragma once
// How a kernel is started: grid-stride loops everywhere, so that any size is legal and the grid is only a
// matter of speed.

#include <cuda_runtime.h>

#include <cstdint>
#include <utility>

#include "engine/check.hpp"

namespace simsmoe::cuda {

inline constexpr unsigned kThreads = 256;  // per block

inline unsigned blocks_for(std::int64_t items, std::int64_t items_per_block) {
  constexpr std::int64_t kMost = 4096;  // enough to fill any GPU; the stride does the rest
  const std::int64_t wanted = (items + items_per_block - 1) / items_per_block;
  return static_cast<unsigned>(wanted < kMost ? wanted : kMost);
}

// Launches on the one stream of the current device; an empty grid is no launch at all.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), unsigned blocks, Arguments&&... arguments) {
  if (blocks == 0) return;
  kernel<<<blocks, kThreads>>>(std::forward<Arguments>(arguments)...);
  const cudaError_t status = cudaGetLastError();
  SMX_CHECK(status == cudaSuccess, "[{}] launch failed: {}", name, cudaGetErrorString(status));
}

// The items of a grid-stride loop: for (std::int64_t i = first_item(); i < n; i += item_stride())
__device__ inline std::int64_t first_item() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t item_stride() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

// Overwrites or adds, as the GradTarget asks.
template <class T, class Value>
__device__ void write_grad(T& slot, Value value, bool accumulate) {
  slot = static_cast<T>(accumulate ? static_cast<Value>(slot) + value : value);
}

}  // namespace simsmoe::cuda
