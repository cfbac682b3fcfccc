// Each loss as a composition of ops.
#include "moe/similarity_losses.hpp"

#include <iterator>
#include <limits>

#include "moe/cka.hpp"
#include "moe/unit_rows.hpp"
#include "ops/layout.hpp"
#include "ops/matmul.hpp"
#include "ops/softmax.hpp"

namespace simsmoe::moe {

namespace {

Variable dot_products(const Variable& a, const Variable& b, double temperature) {
  return ops::scale(ops::matmul(a, b, {.transpose_b = true}), 1.0 / temperature);
}

// A very negative number on the diagonal: softmax and logsumexp skip it. s: [n, n]
Variable without_self(const Variable& s) { return ops::with_diagonal(s, -1e30); }

// x_i . y_i [n]
Variable row_products(const Variable& x, const Variable& y) { return ops::sum(ops::mul(x, y), -1); }

Variable cosine(const Variable& x, const Variable& y) { return ops::mean(row_products(x, y)); }
Variable abs_cosine(const Variable& x, const Variable& y) { return ops::mean(ops::abs(row_products(x, y))); }

Variable infonce(const Variable& x, const Variable& y) {
  constexpr double kTemperature = 0.1;
  const Variable positives = ops::scale(row_products(x, y), 1.0 / kTemperature);
  return ops::mean(ops::sub(positives, ops::logsumexp(dot_products(x, y, kTemperature))));
}

Variable dcl_one_way(const Variable& x, const Variable& y) {
  constexpr double kTemperature = 0.07;
  const Variable others = ops::add(ops::logsumexp(without_self(dot_products(x, x, kTemperature))),
                                   ops::logsumexp(without_self(dot_products(x, y, kTemperature))));
  return ops::mean(ops::sub(ops::scale(row_products(x, y), 1.0 / kTemperature), others));
}
Variable dcl(const Variable& x, const Variable& y) {
  return ops::scale(ops::add(dcl_one_way(x, y), dcl_one_way(y, x)), 0.5);
}

Variable nt_xent(const Variable& x, const Variable& y) {
  constexpr double kTemperature = 0.5;
  const Variable z = ops::concat({x, y}, 0), partners = ops::concat({y, x}, 0);
  const Variable positives = ops::scale(row_products(z, partners), 1.0 / kTemperature);
  return ops::mean(ops::sub(positives, ops::logsumexp(without_self(dot_products(z, z, kTemperature)))));
}

// On rows of length 1.
struct Measure {
  Variable (*value)(const Variable& x, const Variable& y);
  double largest;
};

// nullptr: cka
const Measure* measure_of(LikenessMeasure loss) {
  static constexpr Measure kMeasures[] = {{cosine, 1.0},
                                          {abs_cosine, 1.0},
                                          {infonce, 0.0},
                                          {dcl, std::numeric_limits<double>::infinity()},
                                          {nt_xent, 0.0}};
  static_assert(std::size(kMeasures) + 1 == nn::kNamesOf<LikenessMeasure>.size());
  const auto number = static_cast<std::size_t>(loss);
  return number == 0 ? nullptr : &kMeasures[number - 1];
}

CkaKernel kernel_of(KernelChoice choice) {
  SMX_CHECK(choice != KernelChoice::automatic, "[likeness] expected resolved options, got kernel auto");
  return choice == KernelChoice::linear ? CkaKernel::linear
         : choice == KernelChoice::rbf  ? CkaKernel::rbf
                                        : CkaKernel::rbf_median;
}

}  // namespace

double largest_likeness(const SimilarityOptions& options) {
  const Measure* const measure = measure_of(options.loss);
  return measure == nullptr ? 1.0 : measure->largest;
}

Likeness likeness(const Variable& x_in, const Variable& y_in, const SimilarityOptions& o) {
  const Variable x = ops::cast(x_in, DType::f64), y = ops::cast(y_in, DType::f64);
  if (const Measure* const measure = measure_of(o.loss)) return {measure->value(unit_rows(x), unit_rows(y))};
  const CkaOptions options{.kernel = kernel_of(o.kernel), .sigma = o.sigma, .debiased = o.debiased()};
  const Cka result = o.normalize ? cka(unit_rows(x), unit_rows(y), options) : cka(x, y, options);
  return {result.value, result.mean_kernel};
}

}  // namespace simsmoe::moe
