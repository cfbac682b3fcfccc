#pragma once
// Matrix products. All go through engine/cpu/gemm (CPU) or cuBLAS (GPU); bf16 is accumulated in f32.

#include "engine/dispatch.hpp"
#include "engine/tape.hpp"

namespace simsmoe::ops {

struct MatmulOptions {
  bool transpose_a = false;
  bool transpose_b = false;
};

// y = op(a) op(b) over the last two axes. a: [..., m, k] (or [..., k, m] when transposed), b: [..., k, n] (or
// [..., n, k]) -> [..., m, n]; the leading axes broadcast as in NumPy. A vector [k] stands for a row on the
// left and for a column on the right, which y then lacks: [k] [..., k, n] -> [..., n], [k] [k] -> []. It is
// its own transpose.
Variable matmul(const Variable& a, const Variable& b, MatmulOptions options = {});

// y = x W^T + b. x: [..., in], weight: [out, in], bias: [out] or undefined -> [..., out]
Variable linear(const Variable& x, const Variable& weight, const Variable& bias = {});

// Expert e multiplies its own rows: y[r] = x[r] W[e]^T + b[e] for offsets[e] <= r < offsets[e + 1].
// x: [n, in] sorted by expert, weight: [E, out, in], bias: [E, out] or undefined,
// offsets: i64 [E + 1] on the host, non-decreasing from 0 to n -> [n, out]. Experts without rows are fine;
// their dweight and dbias are zero.
Variable grouped_matmul(const Variable& x, const Variable& weight, const Tensor& offsets,
                        const Variable& bias = {});

}  // namespace simsmoe::ops

// c = op(a) op(b) over the last two axes, for all batches that the leading axes of a and b broadcast to;
// those of c broadcast to them too, and products that fall on one matrix of c are summed.
SMX_CPU_KERNEL(matmul_product,
               (const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, GradTarget c))
// x: [rows, in], weight: [out, in], bias: [out] or undefined, y: [rows, out].
SMX_CPU_KERNEL(linear_forward, (const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y))
// dbias[e, j] = sum of dy[r, j] over offsets[e] <= r < offsets[e + 1]. dy: [rows, out], dbias: [E, out]; the
// offsets of all grouped kernels: i64 [E + 1].
SMX_CPU_KERNEL(grouped_bias_backward, (const Tensor& dy, const Tensor& offsets, GradTarget dbias))
// x: [rows, in], weight: [E, out, in], bias: [E, out] or undefined, y: [rows, out].
SMX_CPU_KERNEL(grouped_matmul_forward, (const Tensor& x, const Tensor& weight, const Tensor& bias,
                                        const Tensor& offsets, const Tensor& y))
SMX_CPU_KERNEL(grouped_matmul_backward_x,
               (const Tensor& dy, const Tensor& weight, const Tensor& offsets, GradTarget dx))
SMX_CPU_KERNEL(grouped_matmul_backward_weight,
               (const Tensor& dy, const Tensor& x, const Tensor& offsets, GradTarget dweight))
