#include "swish_gate.hpp"

#include "engine/dispatch.hpp"
#include "engine/math.hpp"
#include "engine/profile.hpp"
#include "ops/check.hpp"
#include "ops/cpu_kernel.hpp"

// Kernels first, then the op. A kernel reads and writes memory and knows nothing of tapes; each gradient has
// its own, so that swish_gate(x, x) is right too.

SMX_CPU_KERNEL(swish_gate_forward, (const Tensor& a, const Tensor& b, const Tensor& y))
SMX_CPU_KERNEL(swish_gate_backward_a, (const Tensor& a, const Tensor& b, const Tensor& dy, GradTarget da))
SMX_CPU_KERNEL(swish_gate_backward_b, (const Tensor& a, const Tensor& dy, GradTarget db))

namespace simsmoe::cpu {

namespace {

template <class T>
T sigmoid(T x) {
  return 1 / (1 + math::exp(-x));
}

}  // namespace

void swish_gate_forward(const Tensor& a, const Tensor& b, const Tensor& y) {
  for_float_dtype(a.dtype(), [&]<class T>() {
    const T *ap = a.data<T>(), *bp = b.data<T>();
    T* yp = y.data<T>();
    parallel_elements(a.numel(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const acc_t<T> ai = ap[i], bi = bp[i];
        yp[i] = static_cast<T>(ai * sigmoid(ai) * bi);
      }
    });
  });
}

// d(a s)/da = s + a s (1 - s) with s = sigmoid(a), as s' = s (1 - s)
void swish_gate_backward_a(const Tensor& a, const Tensor& b, const Tensor& dy, GradTarget da) {
  for_float_dtype(a.dtype(), [&]<class T>() {
    const T *ap = a.data<T>(), *bp = b.data<T>(), *dyp = dy.data<T>();
    T* dap = da.buffer.data<T>();
    parallel_elements(a.numel(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const acc_t<T> ai = ap[i], bi = bp[i], dyi = dyp[i], s = sigmoid(ai);
        write_grad(dap[i], dyi * bi * s * (1 + ai * (1 - s)), da.accumulate);
      }
    });
  });
}

void swish_gate_backward_b(const Tensor& a, const Tensor& dy, GradTarget db) {
  for_float_dtype(a.dtype(), [&]<class T>() {
    const T *ap = a.data<T>(), *dyp = dy.data<T>();
    T* dbp = db.buffer.data<T>();
    parallel_elements(a.numel(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const acc_t<T> ai = ap[i], dyi = dyp[i];
        write_grad(dbp[i], dyi * ai * sigmoid(ai), db.accumulate);
      }
    });
  });
}

}  // namespace simsmoe::cpu

namespace own {

using namespace simsmoe;

Variable swish_gate(const Variable& a, const Variable& b) {
  const profile::Scope scope("swish_gate");
  ops::check_float("swish_gate", a);
  ops::check_alike("swish_gate", a, b);
  SMX_CHECK(a.shape() == b.shape(), "[swish_gate] expected two inputs of one shape, got {} and {}",
            describe(a.value()), describe(b.value()));
  Tensor y = Tensor::empty_like(a.value());
  SMX_DISPATCH(swish_gate_forward, y.device(), a.value(), b.value(), y);
  // The closure keeps Tensors, never Variables, and calls kernels, never ops (engine/tape.hpp says why).
  return record("swish_gate", {a, b}, y, [a = a.value(), b = b.value()](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    if (ctx.wants(0)) SMX_DISPATCH(swish_gate_backward_a, a.device(), a, b, dy, ctx.target(0));
    if (ctx.wants(1)) SMX_DISPATCH(swish_gate_backward_b, a.device(), a, dy, ctx.target(1));
  });
}

}  // namespace own
