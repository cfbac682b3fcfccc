#pragma once
// Centred kernel alignment: how alike two representations of the same n items are, whatever rotation and scale they
// are written in (Kornblith et al. 2019, arXiv 1905.00414). x: [n, p] and y: [n, q] give Gram matrices K and L.
//
//   kernel     linear      K_ij = x_i . x_j
//              rbf         K_ij = exp(-|x_i - x_j|^2 / (2 sigma^2))
//              rbf_median  the same, sigma^2 = lower median of the squared distances above 0 of that matrix, a constant
//   biased     CKA = <HKH, HLH> / (|HKH| |HLH|),  H = I - 11'/n;  in [0, 1], and large for few items even if the two
//              have nothing in common: 0.5 for 16 independent items in 16 dimensions
//   debiased   HSIC1(K, L) / sqrt(HSIC1(K, K) HSIC1(L, L)), about 0 for independent items, may be negative; n >= 4
//              HSIC1 = [tr(KL) + 1'K1 1'L1 / ((n-1)(n-2)) - 2 1'KL1 / (n-2)] / (n(n-3)), diagonals set to 0 (Song et
//              al. 2012)
//
// Everything is computed in f64 whatever the inputs, with O(n^2) time and memory (linear, biased, p and q < n: O(npq)
// and no Gram matrix). Distances are taken from differences, so equal rows are at 0 exactly, and the rbf kernel is kept
// as expm1(-d^2/2sigma^2): a kernel near 1 everywhere would lose its digits, and constants vanish in both estimators. One
// that is small everywhere off the diagonal is kept as it is where the diagonal does not count (debiased).
// Gradients come by composition of ops.

#include "engine/tape.hpp"

namespace simsmoe::moe {

enum class CkaKernel : unsigned char { linear, rbf, rbf_median };

struct CkaOptions {
  CkaKernel kernel = CkaKernel::linear;
  double sigma = 0.8;  // of rbf
  bool debiased = false;
};

// The three inner products that the quotient is made of: HSIC0 = <HKH, HLH> without a factor, or HSIC1. f64 [].
struct Hsic {
  Variable xy, xx, yy;
  // Of an rbf kernel the mean of K_ij and L_ij over i != j: near 1 it sees no differences, near 0 nothing else. f64 [],
  // undefined for the linear kernel.
  Tensor mean_kernel = {};
};

// x: [n, p], y: [n, q] float, n >= 2; debiased: n >= 4
Hsic hsic(const Variable& x, const Variable& y, const CkaOptions& options);

struct Cka {
  Variable
      value;  // f64 []; undefined where CKA is not: too few items, or one side hardly varies (product of the
              // norms below 1e-12)
  Tensor mean_kernel = {};
};

Cka cka(const Variable& x, const Variable& y, const CkaOptions& options);

// CKA of more items than fit at once: the mean of each HSIC1 term over the batches, then the quotient; never the mean
// of quotients (Nguyen et al. 2021, arXiv 2010.15327, eq. 3). Not differentiable.
class MinibatchCka {
 public:
  explicit MinibatchCka(CkaOptions options);   // debiased, whatever the options say
  void add(const Tensor& x, const Tensor& y);  // [n, p], [n, q], n >= 4
  double value() const;                        // NaN while undefined

 private:
  CkaOptions options_;
  double xy_ = 0.0, xx_ = 0.0, yy_ = 0.0;
};

}  // namespace simsmoe::moe
