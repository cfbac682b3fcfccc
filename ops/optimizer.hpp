#pragma once
// Parameter updates: Tensors only, never recorded. All parameters of a model in one call, one pass over their memory, and
// nothing is read back: the factor of the gradients is a number on the device, as the norm that it comes from is.

#include <vector>

#include "engine/dispatch.hpp"
#include "engine/tensor.hpp"

namespace simsmoe::ops {

// A parameter with what its update needs. The tensors of one have one shape and dtype (float).
struct AdamSlot {
  Tensor parameter, gradient, m, v;
  double weight_decay = 0.0;
  std::int64_t step = 1;  // t: the updates of this parameter, from 1; for the bias correction
};

struct AdamStep {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  // false: p -= lr * weight_decay * p (AdamW); true: weight_decay * p is added to the gradient (Adam with L2).
  bool coupled_decay = false;
};

// g = gradient_scale * gradient; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
// p -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).
// gradient_scale: f64 [] on the device of the parameters, or undefined for 1. Where it is not finite, nothing changes.
void adam_step(const std::vector<AdamSlot>& slots, const AdamStep& step, const Tensor& gradient_scale = {});

struct SgdSlot {
  Tensor parameter, gradient, momentum;  // the last may be undefined when step.momentum is 0
  double weight_decay = 0.0;
};

struct SgdStep {
  double lr = 1e-2, momentum = 0.0;
  bool nesterov = false;
};

// g = gradient_scale * gradient + weight_decay p; u = momentum u + g; p -= lr * (nesterov ? g + momentum u : u).
// gradient_scale as for Adam.
void sgd_step(const std::vector<SgdSlot>& slots, const SgdStep& step, const Tensor& gradient_scale = {});

// sqrt of the sum of all x^2, in double, in an order that the sizes alone decide. xs: float, any shapes, one device
// (kCpu where there is none) -> f64 []
Tensor global_norm(const std::vector<Tensor>& xs);

}  // namespace simsmoe::ops

SMX_CPU_KERNEL(adam_update, (const std::vector<ops::AdamSlot>& slots, const ops::AdamStep& step,
                             const Tensor& gradient_scale))
SMX_CPU_KERNEL(sgd_update, (const std::vector<ops::SgdSlot>& slots, const ops::SgdStep& step,
                            const Tensor& gradient_scale))
// norm: f64 []
SMX_CPU_KERNEL(global_norm, (const std::vector<Tensor>& xs, const Tensor& norm))
