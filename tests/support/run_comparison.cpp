#include "tests/support/run_comparison.hpp"

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

namespace simsmoe::testing {

namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

// max |a - b| / max |b|; infinite when the shapes differ or only one of two elements is a number.
double relative_difference(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return kInfinite;
  const std::vector<double> left = a.to_vector<double>(), right = b.to_vector<double>();
  double worst = 0.0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i] == right[i] || (std::isnan(left[i]) && std::isnan(right[i]))) continue;
    const double difference = std::abs(left[i] - right[i]);
    if (!std::isfinite(difference)) return kInfinite;
    worst = std::max(worst, difference);
  }
  return worst == 0.0 ? 0.0 : worst / std::max(largest_magnitude(right), 1e-30);
}

double difference_within_range(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return kInfinite;
  const double smallest = a.dtype() == DType::f64 ? std::numeric_limits<double>::min()
                                                  : double{std::numeric_limits<float>::min()};
  const std::vector<double> left = a.to_vector<double>(), right = b.to(a.dtype()).to_vector<double>();
  double worst = 0.0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (!std::isfinite(left[i]) && !std::isfinite(right[i])) continue;
    const double difference = std::abs(left[i] - right[i]);
    if (!std::isfinite(difference)) return kInfinite;
    worst = std::max(worst, difference - smallest);
  }
  return worst == 0.0 ? 0.0 : worst / std::max(largest_magnitude(right), smallest);
}

using Measure = std::function<double(const Tensor&, const Tensor&)>;

Outcome compare_by(const Measure& measure, const Run& run, const Run& reference, double tolerance) {
  Outcome outcome;
  const auto consider = [&](const Tensor& a, const Tensor& b, const std::string& what) {
    if (a.defined() != b.defined()) {
      outcome.problem = what + " is there in one of two runs only";
      return;
    }
    if (!a.defined()) return;
    const double error = measure(a, b);
    outcome.error = std::max(outcome.error, error);
    if (error > tolerance)
      outcome.problem = fmt::format("{}: error {:.3g} > {:.3g}; {} instead of {}", what, error, tolerance,
                                    to_string(a), to_string(b));
  };
  consider(run.y, reference.y, "the value");
  for (std::size_t i = 0; i < run.gradients.size(); ++i)
    consider(run.gradients[i], reference.gradients[i], fmt::format("the gradient of input {}", i));
  return outcome;
}

}  // namespace

double largest_magnitude(const std::vector<double>& values) {
  double largest = 0.0;
  for (const double v : values)
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
  return largest;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.defined() != b.defined()) return false;
  if (!a.defined()) return true;
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const Tensor left = a.to(kCpu), right = b.to(kCpu);
  if (a.bytes() == 0 || std::memcmp(left.raw_data(), right.raw_data(), a.bytes()) == 0) return true;
  if (all_finite(left)) return false;
  const std::size_t width = size_of(a.dtype());
  const auto* x = static_cast<const std::byte*>(left.raw_data());
  const auto* y = static_cast<const std::byte*>(right.raw_data());
  const std::vector<double> u = left.to_vector<double>(), v = right.to_vector<double>();
  for (std::size_t i = 0; i < u.size(); ++i)
    if (std::memcmp(x + i * width, y + i * width, width) != 0 && !(std::isnan(u[i]) && std::isnan(v[i])))
      return false;
  return true;
}

std::string first_bit_difference(const Run& a, const Run& b) {
  const auto where = [](const Tensor& left, const Tensor& right) -> std::string {
    if (!left.defined() || !right.defined() || left.shape() != right.shape()) return {};
    const std::vector<double> u = left.to_vector<double>(), v = right.to_vector<double>();
    std::size_t first = u.size(), count = 0;
    for (std::size_t i = u.size(); i-- > 0;)
      if (u[i] != v[i] && !(std::isnan(u[i]) && std::isnan(v[i]))) first = i, ++count;
    return count == 0 ? ""
                      : fmt::format(" in {} of {} elements, first [{}]: {} and {}", count, u.size(), first,
                                    u[first], v[first]);
  };
  if (!same_bits(a.y, b.y)) return "the values differ" + where(a.y, b.y);
  for (std::size_t i = 0; i < a.gradients.size(); ++i)
    if (!same_bits(a.gradients[i], b.gradients[i]))
      return fmt::format("the gradients of input {} differ{}", i, where(a.gradients[i], b.gradients[i]));
  return {};
}

Outcome compare(const Run& run, const Run& reference, double tolerance) {
  return compare_by(relative_difference, run, reference, tolerance);
}

Outcome compare_within_range(const Run& run, const Run& reference, double tolerance) {
  return compare_by(difference_within_range, run, reference, tolerance);
}

}  // namespace simsmoe::testing
