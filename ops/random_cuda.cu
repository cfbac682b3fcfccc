#include <cmath>

#include "engine/cuda/launch.cuh"
#include "ops/random.hpp"

// One thread per element, striding over the grid; each draws its own block of Philox. The twin of random_cpu.cpp.

namespace simsmoe::cuda {

namespace {

template <class T>
__global__ void dropout_elements(const T* x, T* y, std::uint32_t threshold, acc_t<T> scale, RandomKey key,
                                 std::uint64_t step, std::uint64_t first, bool accumulate, std::int64_t n) {
  for (std::int64_t i = first_item(); i < n; i += item_stride()) {
    const bool keeps = (random_bits(key, step, first + static_cast<std::uint64_t>(i)) >> 8) >= threshold;
    write_grad(y[i], keeps ? static_cast<acc_t<T>>(x[i]) * scale : acc_t<T>{0}, accumulate);
  }
}

template <class T>
__global__ void uniform_elements(T* y, RandomKey key, std::uint64_t step, std::uint64_t first,
                                 std::int64_t n) {
  for (std::int64_t i = first_item(); i < n; i += item_stride())
    y[i] = converted<T>(random_uniform(key, step, first + static_cast<std::uint64_t>(i)));
}

template <class T>
__global__ void normal_elements(T* y, RandomKey key, std::uint64_t step, std::uint64_t first,
                                std::int64_t n) {
  for (std::int64_t i = first_item(); i < n; i += item_stride())
    y[i] = converted<T>(random_normal(key, step, first + static_cast<std::uint64_t>(i)));
}

}  // namespace

void dropout_apply(const Tensor& x, GradTarget y, double p, RandomKey key, std::uint64_t step,
                   std::uint64_t first) {
  const std::int64_t n = x.numel();
  const auto threshold = static_cast<std::uint32_t>(std::ceil(p * 0x1p24));
  for_float_dtype(x.dtype(), [&]<class T>() {
    const auto scale = static_cast<acc_t<T>>(1.0 / (1.0 - p));
    launch("dropout", dropout_elements<T>, blocks_for(n, kThreads), x.data<T>(), y.buffer.data<T>(),
           threshold, scale, key, step, first, y.accumulate, n);
  });
}

void uniform_fill(const Tensor& y, RandomKey key, std::uint64_t step, std::uint64_t first) {
  const std::int64_t n = y.numel();
  for_float_dtype(y.dtype(), [&]<class T>() {
    launch("uniform", uniform_elements<T>, blocks_for(n, kThreads), y.data<T>(), key, step, first, n);
  });
}

void normal_fill(const Tensor& y, RandomKey key, std::uint64_t step, std::uint64_t first) {
  const std::int64_t n = y.numel();
  for_float_dtype(y.dtype(), [&]<class T>() {
    launch("normal", normal_elements<T>, blocks_for(n, kThreads), y.data<T>(), key, step, first, n);
  });
}

}  // namespace simsmoe::cuda
