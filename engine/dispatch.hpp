#pragma once
// Backends are namespaces. SMX_KERNEL declares one function in simsmoe::cpu and in simsmoe::cuda with one
// signature; SMX_DISPATCH calls the one of a device. A missing kernel is a link error; nothing is registered.
//
//   SMX_KERNEL(softmax_forward, (const Tensor& x, const Tensor& y))    // ops/softmax.hpp
//   SMX_DISPATCH(softmax_forward, y.device(), x.value(), y);           // ops/softmax.cpp
//
// Kernels write into the Tensors that they are given; a Tensor is a handle, so outputs too are const Tensor&.
// SMX_CPU_KERNEL declares a kernel without a CUDA twin: on a GPU it is one clear error.

#include "engine/tensor.hpp"

namespace simsmoe::detail {
[[noreturn]] inline void no_cuda_kernel(const char* name) {
  throw Error(fmt::format("[{}] has no CUDA kernel in this build", name));
}
}  // namespace simsmoe::detail

#define SMX_KERNEL(name, signature) \
  namespace simsmoe::cpu {          \
  void name signature;              \
  }                                 \
  namespace simsmoe::cuda {         \
  void name signature;              \
  }

#define SMX_CPU_KERNEL(name, signature)         \
  namespace simsmoe::cpu {                      \
  void name signature;                          \
  }                                             \
  namespace simsmoe::cuda {                     \
  template <class... Arguments>                 \
  [[noreturn]] void name(const Arguments&...) { \
    ::simsmoe::detail::no_cuda_kernel(#name);   \
  }                                             \
  }

#if SIMSMOE_CUDA
#define SMX_DISPATCH(name, device, ...) \
  ((device).is_cuda() ? ::simsmoe::cuda::name(__VA_ARGS__) : ::simsmoe::cpu::name(__VA_ARGS__))
#else
#define SMX_DISPATCH(name, device, ...) \
  ((device).is_cuda() ? ::simsmoe::detail::no_cuda_kernel(#name) : ::simsmoe::cpu::name(__VA_ARGS__))
#endif
