#include "ops/cpu_kernel.hpp"
#include "ops/unary.hpp"

// One loop per function and dtype, in vector lanes; threads take contiguous pieces. (No `omp simd` here: it
// makes the compiler keep bf16 values, which are structs, in memory; plain loops over them vectorise.)

namespace simsmoe::cpu {

void unary_forward(const UnaryFunction& function, const Tensor& x, const Tensor& y) {
  for_float_dtype(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.data<T>();
    std::visit(
        [&](auto f) {
          parallel_elements(x.numel(), [=](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i)
              out[i] = static_cast<T>(f.value(static_cast<acc_t<T>>(in[i])));
          });
        },
        function);
  });
}

void unary_backward(const UnaryFunction& function, const Tensor& saved, const Tensor& dy, GradTarget dx) {
  for_float_dtype(saved.dtype(), [&]<class T>() {
    const T* at = saved.data<T>();
    const T* dout = dy.data<T>();
    T* din = dx.buffer.data<T>();
    std::visit(
        [&](auto f) {
          decide(dx.accumulate, [&](auto accumulate) {
            parallel_elements(saved.numel(), [=](std::int64_t begin, std::int64_t end) {
              for (std::int64_t i = begin; i < end; ++i)
                write_grad(din[i], f.slope(static_cast<acc_t<T>>(at[i])) * static_cast<acc_t<T>>(dout[i]),
                           accumulate);
            });
          });
        },
        function);
  });
}

void cast_into(const Tensor& x, GradTarget y) {
  for_float_dtype(x.dtype(), [&]<class From>() {
    for_float_dtype(y.buffer.dtype(), [&]<class To>() {
      const From* in = x.data<From>();
      To* out = y.buffer.data<To>();
      const bool accumulate = y.accumulate;
      parallel_elements(x.numel(), [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i)
          write_grad(out[i], static_cast<acc_t<To>>(in[i]), accumulate);
      });
    });
  });
}

}  // namespace simsmoe::cpu
