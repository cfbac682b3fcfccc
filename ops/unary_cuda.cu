#include "engine/cuda/launch.cuh"
#include "ops/unary.hpp"

// One thread per element, striding over the grid. The twin of unary_cpu.cpp; the functions are the same
// structs.

namespace simsmoe::cuda {

namespace {

template <class T, class F>
__global__ void unary_forward_elements(F f, const T* x, T* y, std::int64_t n) {
  for (std::int64_t i = first_item(); i < n; i += item_stride())
    y[i] = static_cast<T>(f.value(static_cast<acc_t<T>>(x[i])));
}

template <class T, class F>
__global__ void unary_backward_elements(F f, const T* saved, const T* dy, T* dx, bool accumulate,
                                        std::int64_t n) {
  for (std::int64_t i = first_item(); i < n; i += item_stride())
    write_grad(dx[i], f.slope(static_cast<acc_t<T>>(saved[i])) * static_cast<acc_t<T>>(dy[i]), accumulate);
}

template <class From, class To>
__global__ void cast_elements(const From* x, To* y, bool accumulate, std::int64_t n) {
  for (std::int64_t i = first_item(); i < n; i += item_stride())
    write_grad(y[i], static_cast<acc_t<To>>(x[i]), accumulate);
}

}  // namespace

void unary_forward(const UnaryFunction& function, const Tensor& x, const Tensor& y) {
  const std::int64_t n = x.numel();
  for_float_dtype(x.dtype(), [&]<class T>() {
    std::visit(
        [&]<class F>(const F& f) {
          launch("unary", unary_forward_elements<T, F>, blocks_for(n, kThreads), f, x.data<T>(), y.data<T>(),
                 n);
        },
        function);
  });
}

void unary_backward(const UnaryFunction& function, const Tensor& saved, const Tensor& dy, GradTarget dx) {
  const std::int64_t n = saved.numel();
  for_float_dtype(saved.dtype(), [&]<class T>() {
    std::visit(
        [&]<class F>(const F& f) {
          launch("unary", unary_backward_elements<T, F>, blocks_for(n, kThreads), f, saved.data<T>(),
                 dy.data<T>(), dx.buffer.data<T>(), dx.accumulate, n);
        },
        function);
  });
}

void cast_into(const Tensor& x, GradTarget y) {
  const std::int64_t n = x.numel();
  for_float_dtype(x.dtype(), [&]<class From>() {
    for_float_dtype(y.buffer.dtype(), [&]<class To>() {
      launch("cast", cast_elements<From, To>, blocks_for(n, kThreads), x.data<From>(), y.buffer.data<To>(),
             y.accumulate, n);
    });
  });
}

}  // namespace simsmoe::cuda
