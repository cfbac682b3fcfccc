// The formulas are in the header.
#include "moe/similarity_losses.hpp"

#include <iterator>
#include <limits>

#include "moe/cka.hpp"
#include "moe/unit_rows.hpp"
#include "ops/index.hpp"
#include "ops/layout.hpp"
#include "ops/matmul.hpp"
#include "ops/softmax.hpp"

namespace simsmoe::moe {

namespace {

Variable dot_products(const Variable& a, const Variable& b, double temperature) {
  return ops::scale(ops::matmul(a, b, {.transpose_b = true}), 1.0 / temperature);
}

// A very negative number on the diagonal: softmax and logsumexp skip it. s: [n, n]
Variable without_self(const Variable& s) {
  const std::int64_t n = s.size(0);
  std::vector<double> mask(static_cast<std::size_t>(n * n), 0.0);
  for (std::int64_t i = 0; i < n; ++i) mask[static_cast<std::size_t>(i * n + i)] = -1e30;
  return ops::add(s, Variable(Tensor::from(mask, {n, n}).to(s.device())));
}

// s[i, column(i)] for all rows. s: [n, m] -> [n, 1]
template <class Column>
Variable pick(const Variable& s, Column column) {
  std::vector<std::int64_t> at(static_cast<std::size_t>(s.size(0)));
  for (std::size_t i = 0; i < at.size(); ++i) at[i] = column(static_cast<std::int64_t>(i));
  return ops::take_along_last(s, Tensor::from(at, {s.size(0), 1}).to(s.device()));
}

Variable cosine(const Variable& x, const Variable& y) { return ops::mean(ops::sum(ops::mul(x, y), -1)); }
Variable abs_cosine(const Variable& x, const Variable& y) {
  return ops::mean(ops::abs(ops::sum(ops::mul(x, y), -1)));
}

Variable infonce(const Variable& x, const Variable& y) {
  return ops::mean(pick(ops::log_softmax(dot_products(x, y, 0.1)), [](std::int64_t i) { return i; }));
}

Variable dcl_one_way(const Variable& x, const Variable& y) {
  constexpr double kTemperature = 0.07;
  const Variable xy = dot_products(x, y, kTemperature);
  const Variable others = ops::add(ops::logsumexp(without_self(dot_products(x, x, kTemperature))),
                                   ops::logsumexp(without_self(xy)));
  return ops::sub(ops::mean(pick(xy, [](std::int64_t i) { return i; })), ops::mean(others));
}
Variable dcl(const Variable& x, const Variable& y) {
  return ops::scale(ops::add(dcl_one_way(x, y), dcl_one_way(y, x)), 0.5);
}

Variable nt_xent(const Variable& x, const Variable& y) {
  const std::int64_t n = x.size(0);
  const Variable z = ops::concat({x, y}, 0);
  const Variable log_p = ops::log_softmax(without_self(dot_products(z, z, 0.5)));
  return ops::mean(pick(log_p, [n](std::int64_t i) { return i < n ? i + n : i - n; }));
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
