#pragma once
// Parameter updates: Tensors only, never recorded. Each is one pass over its memory.

#include "engine/dispatch.hpp"
#include "engine/tensor.hpp"

namespace simsmoe::ops {

struct AdamStep {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0.0;    // decoupled: p -= lr * weight_decay * p (AdamW); 0 is Adam
  bool coupled_decay = false;   // true: weight_decay * p is added to the gradient instead (Adam with L2)
  double gradient_scale = 1.0;  // multiplies the gradient first: clipping without a pass of its own
  std::int64_t step = 1;        // counts from 1, for the bias correction
};

// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
// p -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps). All four: one shape and dtype.
void adam_step(const Tensor& parameter, const Tensor& gradient, const Tensor& m, const Tensor& v,
               const AdamStep& step);

struct SgdStep {
  double lr = 1e-2, momentum = 0.0, weight_decay = 0.0;
  bool nesterov = false;
  double gradient_scale = 1.0;
};

// u = momentum u + g (+ weight_decay p); p -= lr * (nesterov ? g + momentum u : u). momentum_buffer may be
// undefined when momentum is 0.
void sgd_step(const Tensor& parameter, const Tensor& gradient, const Tensor& momentum_buffer,
              const SgdStep& step);

// sum(x^2) in double, in an order that the size alone decides.
double squared_norm(const Tensor& x);

}  // namespace simsmoe::ops

// All tensors of an update: one shape and dtype. The sum goes to the host.
SMX_CPU_KERNEL(adam_update, (const Tensor& parameter, const Tensor& gradient, const Tensor& m,
                             const Tensor& v, const ops::AdamStep& step))
SMX_CPU_KERNEL(sgd_update, (const Tensor& parameter, const Tensor& gradient, const Tensor& momentum,
                            const ops::SgdStep& step))
SMX_CPU_KERNEL(sum_of_squares, (const Tensor& x, double& sum))
