#pragma once
// Reductions over the threads of a block, in a fixed order: repeatable to the bit. Every thread of the block
// must call them, and every thread receives the result.

#include <cuda_runtime.h>

namespace simsmoe::cuda {

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

template <class T, class Combine>
__device__ T warp_reduce(T value, Combine combine) {
  for (int distance = 16; distance > 0; distance /= 2)
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}

// `identity` is what absent warps contribute (0 for a sum). Block size: a multiple of 32, at most 1024.
template <class T, class Combine>
__device__ T block_reduce(T value, T identity, Combine combine) {
  __shared__ T partial[32];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  value = warp_reduce(value, combine);
  __syncthreads();  // a previous call may still be reading `partial`
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  return warp_reduce(lane < warps ? partial[lane] : identity, combine);
}

}  // namespace simsmoe::cuda
