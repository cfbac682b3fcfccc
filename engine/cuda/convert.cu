#include "engine/convert.hpp"
#include "engine/cuda/launch.cuh"

// One thread per element, striding over the grid. The twin of engine/cpu/convert.cpp.

namespace simsmoe::cuda {

namespace {

template <class From, class To>
__global__ void convert_elements(const From* x, To* y, std::int64_t n) {
  for (std::int64_t i = first_item(); i < n; i += item_stride()) y[i] = converted<To>(x[i]);
}

template <class T>
__global__ void add_elements(const T* x, T* y, std::int64_t n) {
  using A = acc_t<T>;
  for (std::int64_t i = first_item(); i < n; i += item_stride())
    y[i] = static_cast<T>(static_cast<A>(y[i]) + static_cast<A>(x[i]));
}

}  // namespace

void convert(const Tensor& x, const Tensor& y) {
  const std::int64_t n = x.numel();
  for_dtype(x.dtype(), [&]<class From>() {
    for_dtype(y.dtype(), [&]<class To>() {
      launch("convert", convert_elements<From, To>, blocks_for(n, kThreads), x.data<From>(), y.data<To>(), n);
    });
  });
}

void add_into(const Tensor& x, const Tensor& y) {
  const std::int64_t n = x.numel();
  for_float_dtype(y.dtype(), [&]<class T>() {
    launch("add_into", add_elements<T>, blocks_for(n, kThreads), x.data<T>(), y.data<T>(), n);
  });
}

}  // namespace simsmoe::cuda
