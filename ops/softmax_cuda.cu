#include <limits>

#include "engine/cuda/block.cuh"
#include "engine/cuda/launch.cuh"
#include "engine/math.hpp"
#include "ops/softmax.hpp"

// One block owns a row; its threads stride over the columns. softmax_cpu.cpp has the same functions in order.

namespace simsmoe::cuda {

namespace {

template <class A, class T>
__device__ A row_max(const T* x, std::int64_t n) {
  A m = -std::numeric_limits<A>::infinity();
  for (std::int64_t j = threadIdx.x; j < n; j += blockDim.x) m = math::max(m, static_cast<A>(x[j]));
  return block_reduce(m, -std::numeric_limits<A>::infinity(), Max{});
}

template <class A, class T>
__device__ A sum_exp(const T* x, A m, std::int64_t n) {
  A sum = 0;
  for (std::int64_t j = threadIdx.x; j < n; j += blockDim.x) sum += math::exp(static_cast<A>(x[j]) - m);
  return block_reduce(sum, A{0}, Sum{});
}

// sum_exp, but of an infinite m, which is the result itself, 1, unless there is a NaN among x.
template <class A, class T>
__device__ A sum_exp_or_one(const T* x, A m, std::int64_t n) {
  if (m - m == 0) return sum_exp(x, m, n);
  A unordered = 0;
  for (std::int64_t j = threadIdx.x; j < n; j += blockDim.x)
    unordered += static_cast<A>(x[j]) != static_cast<A>(x[j]) ? A{1} : A{0};
  return block_reduce(unordered, A{0}, Sum{}) > 0 ? std::numeric_limits<A>::quiet_NaN() : A{1};
}

template <class T>
__global__ void softmax_forward_rows(const T* x, T* y, std::int64_t rows, std::int64_t n) {
  using A = acc_t<T>;
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* xr = x + row * n;
    T* yr = y + row * n;
    const A m = row_max<A>(xr, n), scale = A{1} / sum_exp(xr, m, n);
    for (std::int64_t j = threadIdx.x; j < n; j += blockDim.x)
      yr[j] = static_cast<T>(math::exp(static_cast<A>(xr[j]) - m) * scale);
  }
}

template <class T>
__global__ void softmax_backward_rows(const T* y, const T* dy, T* dx, bool accumulate, std::int64_t rows,
                                      std::int64_t n) {
  using A = acc_t<T>;
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T *yr = y + row * n, *dyr = dy + row * n;
    A dot = 0;
    for (std::int64_t j = threadIdx.x; j < n; j += blockDim.x)
      dot += static_cast<A>(dyr[j]) * static_cast<A>(yr[j]);
    dot = block_reduce(dot, A{0}, Sum{});
    for (std::int64_t j = threadIdx.x; j < n; j += blockDim.x)
      write_grad(dx[row * n + j], static_cast<A>(yr[j]) * (static_cast<A>(dyr[j]) - dot), accumulate);
  }
}

template <class T>
__global__ void log_softmax_forward_rows(const T* x, T* y, std::int64_t rows, std::int64_t n) {
  using A = acc_t<T>;
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* xr = x + row * n;
    const A m = row_max<A>(xr, n), log_sum = math::log(sum_exp(xr, m, n));
    for (std::int64_t j = threadIdx.x; j < n; j += blockDim.x)
      y[row * n + j] = static_cast<T>(static_cast<A>(xr[j]) - m - log_sum);
  }
}

template <class T>
__global__ void log_softmax_backward_rows(const T* y, const T* dy, T* dx, bool accumulate, std::int64_t rows,
                                          std::int64_t n) {
  using A = acc_t<T>;
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T *yr = y + row * n, *dyr = dy + row * n;
    A sum = 0;
    for (std::int64_t j = threadIdx.x; j < n; j += blockDim.x) sum += static_cast<A>(dyr[j]);
    sum = block_reduce(sum, A{0}, Sum{});
    for (std::int64_t j = threadIdx.x; j < n; j += blockDim.x)
      write_grad(dx[row * n + j], static_cast<A>(dyr[j]) - math::exp(static_cast<A>(yr[j])) * sum,
                 accumulate);
  }
}

template <class T>
__global__ void logsumexp_forward_rows(const T* x, T* lse, std::int64_t rows, std::int64_t n) {
  using A = acc_t<T>;
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* xr = x + row * n;
    const A m = row_max<A>(xr, n), sum = sum_exp_or_one(xr, m, n);
    if (threadIdx.x == 0) lse[row] = static_cast<T>(m + math::log(sum));
  }
}

template <class T>
__global__ void logsumexp_backward_rows(const T* x, const T* dlse, T* dx, bool accumulate, std::int64_t rows,
                                        std::int64_t n) {
  using A = acc_t<T>;
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* xr = x + row * n;
    const A m = row_max<A>(xr, n), slope = static_cast<A>(dlse[row]) / sum_exp_or_one(xr, m, n);
    for (std::int64_t j = threadIdx.x; j < n; j += blockDim.x)
      write_grad(dx[row * n + j], math::exp(static_cast<A>(xr[j]) - m) * slope, accumulate);
  }
}

}  // namespace

void softmax_forward(const Tensor& x, const Tensor& y) {
  const std::int64_t n = x.size(-1), rows = x.numel() / n;
  for_float_dtype(x.dtype(), [&]<class T>() {
    launch("softmax", softmax_forward_rows<T>, blocks_for(rows, 1), x.data<T>(), y.data<T>(), rows, n);
  });
}

void softmax_backward(const Tensor& y, const Tensor& dy, GradTarget dx) {
  const std::int64_t n = y.size(-1), rows = y.numel() / n;
  for_float_dtype(y.dtype(), [&]<class T>() {
    launch("softmax", softmax_backward_rows<T>, blocks_for(rows, 1), y.data<T>(), dy.data<T>(),
           dx.buffer.data<T>(), dx.accumulate, rows, n);
  });
}

void log_softmax_forward(const Tensor& x, const Tensor& y) {
  const std::int64_t n = x.size(-1), rows = x.numel() / n;
  for_float_dtype(x.dtype(), [&]<class T>() {
    launch("log_softmax", log_softmax_forward_rows<T>, blocks_for(rows, 1), x.data<T>(), y.data<T>(), rows,
           n);
  });
}

void log_softmax_backward(const Tensor& y, const Tensor& dy, GradTarget dx) {
  const std::int64_t n = y.size(-1), rows = y.numel() / n;
  for_float_dtype(y.dtype(), [&]<class T>() {
    launch("log_softmax", log_softmax_backward_rows<T>, blocks_for(rows, 1), y.data<T>(), dy.data<T>(),
           dx.buffer.data<T>(), dx.accumulate, rows, n);
  });
}

void logsumexp_forward(const Tensor& x, const Tensor& lse) {
  const std::int64_t n = x.size(-1), rows = x.numel() / n;
  for_float_dtype(x.dtype(), [&]<class T>() {
    launch("logsumexp", logsumexp_forward_rows<T>, blocks_for(rows, 1), x.data<T>(), lse.data<T>(), rows, n);
  });
}

void logsumexp_backward(const Tensor& x, const Tensor& dlse, GradTarget dx) {
  const std::int64_t n = x.size(-1), rows = x.numel() / n;
  for_float_dtype(x.dtype(), [&]<class T>() {
    launch("logsumexp", logsumexp_backward_rows<T>, blocks_for(rows, 1), x.data<T>(), dlse.data<T>(),
           dx.buffer.data<T>(), dx.accumulate, rows, n);
  });
}

}  // namespace simsmoe::cuda
