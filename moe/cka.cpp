// Kernels, centring and HSIC as compositions of ops.
#include "moe/cka.hpp"

#include <cmath>
#include <limits>

#include "nn/metrics.hpp"
#include "ops/binary.hpp"
#include "ops/layout.hpp"
#include "ops/matmul.hpp"
#include "ops/pairwise.hpp"
#include "ops/reduce.hpp"
#include "ops/unary.hpp"

namespace simsmoe::moe {

namespace {

constexpr double kSmallestNorms = 1e-12;

Variable inner(const Variable& a, const Variable& b) { return ops::sum(ops::mul(a, b)); }

// HKH by the means of rows, columns and all: K - row - column + all.
Variable centred(const Variable& k) {
  const Variable columns = ops::mean(k, 0, true);
  return ops::add(ops::sub(ops::sub(k, ops::mean(k, 1, true)), columns), ops::mean(columns));
}

// Whether all rows are so far from each other that K has more digits off the diagonal than K - 1. Without a diagonal
// only: K_ii = 1.
bool far_apart(const Variable& exponent) {
  constexpr double kHalf = -0.693147180559945309;
  const Variable off_diagonal = ops::with_diagonal(exponent.detach(), std::numeric_limits<double>::lowest());
  return nn::read_scalars({ops::max(off_diagonal).value()})[0] < kHalf;
}

// The Gram matrix up to a constant that vanishes when centred: K for the linear kernel of centred rows, K - 1 for rbf, or
// K, which ever keeps the digits.
struct Gram {
  Variable k;          // [n, n]
  Tensor mean_kernel;  // f64 [], of rbf
};

Gram gram(const Variable& x, const CkaOptions& options) {
  if (options.kernel == CkaKernel::linear) return {ops::matmul(x, x, {.transpose_b = true}), {}};
  const Variable distances = ops::squared_distances(x);
  const Variable exponent =
      options.kernel == CkaKernel::rbf
          ? ops::scale(distances, -0.5 / (options.sigma * options.sigma))
          : ops::div(ops::scale(distances, -0.5), Variable(ops::median_above_diagonal(distances.value())));
  const bool small = options.debiased && far_apart(exponent);
  const Variable k = small ? ops::with_diagonal(ops::exp(exponent), 0.0) : ops::expm1(exponent);
  const double off_diagonal = static_cast<double>(x.size(0) * (x.size(0) - 1));
  return {k, ops::scale(ops::sum(k.detach()), 1.0 / off_diagonal, small ? 0.0 : 1.0).value()};
}

// The U-centred matrix, with K_ii = 0 (Szekely and Rizzo 2014, eq. 2.1): off the diagonal
//   K_ij - (row_i + row_j) / (n - 2) + all / ((n - 1)(n - 2)),
// on it 0. HSIC1(K, L) is the plain <K~, L~> / (n (n - 3)), which does not subtract what nearly cancels.
Variable u_centred(const Variable& k_in) {
  const auto n = static_cast<double>(k_in.size(0));
  const Variable k = ops::with_diagonal(k_in, 0.0), rows = ops::sum(k, 1, true);
  const Variable margins = ops::scale(ops::add(rows, ops::sum(k, 0, true)), 1.0 / (n - 2.0));
  const Variable all = ops::scale(ops::sum(rows), 1.0 / ((n - 1.0) * (n - 2.0)));
  return ops::with_diagonal(ops::add(ops::sub(k, margins), all), 0.0);
}

// <HKH, HLH> of linear kernels is |Y'X|^2 of centred columns: no matrix has n^2 entries.
Variable feature_product(const Variable& x, const Variable& y) {
  return ops::sum(ops::square(ops::matmul(y, x, {.transpose_a = true})));
}

}  // namespace

Hsic hsic(const Variable& x_in, const Variable& y_in, const CkaOptions& options) {
  SMX_CHECK(x_in.rank() == 2 && y_in.rank() == 2 && x_in.size(0) == y_in.size(0),
            "[cka] expected two matrices with as many rows, got {} and {}", describe(x_in.value()),
            describe(y_in.value()));
  const std::int64_t n = x_in.size(0);
  SMX_CHECK(n >= (options.debiased ? 4 : 2), "[cka] expected at least {} rows, got {}",
            options.debiased ? 4 : 2, n);
  const auto prepared = [](const Variable& v) {
    const Variable wide = ops::cast(v, DType::f64);
    return ops::sub(wide, ops::mean(wide, 0, true));
  };
  const Variable x = prepared(x_in), y = prepared(y_in);
  if (options.kernel == CkaKernel::linear && !options.debiased && x.size(1) < n && y.size(1) < n)
    return {feature_product(x, y), feature_product(x, x), feature_product(y, y)};
  const Gram k = gram(x, options), l = gram(y, options);
  Tensor mean_kernel;
  if (k.mean_kernel.defined())
    mean_kernel = ops::scale(ops::add(Variable(k.mean_kernel), Variable(l.mean_kernel)), 0.5).value();
  if (options.debiased) {
    const double scale = 1.0 / static_cast<double>(n * (n - 3));
    const Variable ku = u_centred(k.k), lu = u_centred(l.k);
    const auto hsic1 = [&](const Variable& a, const Variable& b) { return ops::scale(inner(a, b), scale); };
    return {hsic1(ku, lu), hsic1(ku, ku), hsic1(lu, lu), mean_kernel};
  }
  const Variable kc = centred(k.k), lc = centred(l.k);
  return {inner(kc, lc), inner(kc, kc), inner(lc, lc), mean_kernel};
}

Cka cka(const Variable& x, const Variable& y, const CkaOptions& options) {
  if (x.size(0) < (options.debiased ? 4 : 2)) return {};
  const Hsic h = hsic(x, y, options);
  const std::vector<double> norms = nn::read_scalars({h.xx.value(), h.yy.value()});
  const double xx = norms[0], yy = norms[1];
  if (!(xx > 0.0 && yy > 0.0 && std::sqrt(xx) * std::sqrt(yy) >= kSmallestNorms)) return {{}, h.mean_kernel};
  return {ops::div(h.xy, ops::mul(ops::sqrt(h.xx), ops::sqrt(h.yy))), h.mean_kernel};
}

MinibatchCka::MinibatchCka(CkaOptions options) : options_(options) { options_.debiased = true; }

void MinibatchCka::add(const Tensor& x, const Tensor& y) {
  const Hsic h = hsic(Variable(x), Variable(y), options_);
  const std::vector<double> terms = nn::read_scalars({h.xy.value(), h.xx.value(), h.yy.value()});
  xy_ += terms[0];
  xx_ += terms[1];
  yy_ += terms[2];
}

double MinibatchCka::value() const {
  if (!(xx_ > 0.0 && yy_ > 0.0)) return std::numeric_limits<double>::quiet_NaN();
  return xy_ / (std::sqrt(xx_) * std::sqrt(yy_));
}

}  // namespace simsmoe::moe
