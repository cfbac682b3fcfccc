#pragma once
// Normalisation along the last axis. Statistics are computed in acc_t and kept for the backward pass.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

// y = (x - mean) / sqrt(var + eps) * weight + bias, var biased (divided by D).
// x: [..., D]; weight, bias: [D], each may be undefined -> [..., D]
Variable layer_norm(const Variable& x, const Variable& weight, const Variable& bias, double eps = 1e-5);

// y = x / sqrt(mean(x^2) + eps) * weight. x: [..., D]; weight: [D] or undefined -> [..., D]
Variable rms_norm(const Variable& x, const Variable& weight, double eps = 1e-6);

}  // namespace simsmoe::ops

// x, y, dx, dy: [rows, D]; weight, bias: [D] or undefined; rstd: [rows] in acc_t; mean: [rows] f64, as a mean that is large
// beside the deviation has too few digits in f32: its error would be a common error of all x - mean.
SMX_CPU_KERNEL(layer_norm_forward, (const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                                    const Tensor& y, const Tensor& mean, const Tensor& rstd))
SMX_CPU_KERNEL(layer_norm_backward, (const Tensor& x, const Tensor& weight, const Tensor& mean,
                                     const Tensor& rstd, const Tensor& dy, GradTarget dx))
SMX_CPU_KERNEL(layer_norm_backward_weight, (const Tensor& x, const Tensor& mean, const Tensor& rstd,
                                            const Tensor& dy, GradTarget dweight))
SMX_CPU_KERNEL(layer_norm_backward_bias, (const Tensor& dy, GradTarget dbias))
SMX_CPU_KERNEL(rms_norm_forward,
               (const Tensor& x, const Tensor& weight, double eps, const Tensor& y, const Tensor& rstd))
SMX_CPU_KERNEL(rms_norm_backward,
               (const Tensor& x, const Tensor& weight, const Tensor& rstd, const Tensor& dy, GradTarget dx))
SMX_CPU_KERNEL(rms_norm_backward_weight,
               (const Tensor& x, const Tensor& rstd, const Tensor& dy, GradTarget dweight))
