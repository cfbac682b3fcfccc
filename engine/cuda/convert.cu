#include "engine/convert.hpp"
#include "engine/cuda/launch.cuh"

// One thread per element, striding over the grid. The twin of engine/cpu/convert.cpp.

namespace simsmoe::cuda {

namespace {

template <class From, class To>
__global__ void convert_elements(const From* x, To* y, std::int64_t n) {
  for (std::int64_t i = first_item(); i < n; i += item_stride()) y[i] = converted<To>(x[i]);
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

}  // namespace simsmoe::cuda
