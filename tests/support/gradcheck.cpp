#include "tests/support/gradcheck.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace simsmoe::testing {

namespace {

constexpr double kSmallestScale = 1e-6;

double largest_magnitude(const std::vector<double>& values) {
  double largest = 0.0;
  for (const double v : values)
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
  return largest;
}

std::string name_of_parameter(const Variable& parameter, std::size_t index) {
  return parameter.name().empty() ? fmt::format("input {}", index) : parameter.name();
}

// Evaluates the function without a tape while one element is moved.
class Differences {
 public:
  Differences(const std::function<Variable()>& function, const Tensor& weights,
              const std::function<std::vector<std::int64_t>()>& selection)
      : function_(function), weights_(weights.to_vector<double>()), selection_(selection) {
    function_();
    if (selection_) chosen_ = selection_();
  }

  // d sum(weights * y) / d x[i] with step h. The differences of y are taken before the sum: less cancels.
  double slope(const Tensor& x, std::int64_t i, double h) {
    const std::vector<double> far_right = moved(x, i, 2 * h), right = moved(x, i, h);
    const std::vector<double> left = moved(x, i, -h), far_left = moved(x, i, -2 * h);
    double sum = 0.0;
    for (std::size_t j = 0; j < weights_.size(); ++j)
      if (weights_[j] != 0) sum += weights_[j] * (8 * (right[j] - left[j]) - (far_right[j] - far_left[j]));
    return sum / (12 * h);
  }

  bool selection_changed() const { return selection_changed_; }

 private:
  std::vector<double> moved(const Tensor& x, std::int64_t i, double step) {
    const Tensor original = x.clone();
    std::vector<double> values = x.to_vector<double>();
    values[static_cast<std::size_t>(i)] += step;
    x.copy_from(Tensor::from(values, x.shape()));
    const std::vector<double> y = function_().value().to_vector<double>();
    if (selection_ && selection_() != chosen_) selection_changed_ = true;
    x.copy_from(original);
    return y;
  }

  const std::function<Variable()>& function_;
  std::vector<double> weights_;
  const std::function<std::vector<std::int64_t>()>& selection_;
  std::vector<std::int64_t> chosen_;
  bool selection_changed_ = false;
};

void check_parameter(const Variable& parameter, const std::string& name, Differences& differences,
                     const GradcheckOptions& options, GradcheckReport& report) {
  const std::vector<double> analytic = parameter.grad().to_vector<double>();
  const std::vector<double> x = parameter.value().to_vector<double>();
  const std::int64_t n = parameter.value().numel(), samples = std::min(n, options.samples_per_tensor);
  double scale = std::max(largest_magnitude(analytic), kSmallestScale);
  for (std::int64_t s = 0; s < samples; ++s) {
    const std::int64_t i = n * s / samples;
    const double a = analytic[static_cast<std::size_t>(i)];
    if (options.finite_only && !std::isfinite(a + x[static_cast<std::size_t>(i)])) continue;
    double error = std::numeric_limits<double>::infinity(), numeric = 0.0;
    for (const double h : {1e-3, 1e-4}) {
      const double slope = differences.slope(parameter.value(), i, h);
      scale = std::max(scale, std::abs(slope));
      const double e = std::abs(a - slope) / scale;
      if (e < error) {
        error = e;
        numeric = slope;
      }
      if (error < options.tolerance / 10) break;
    }
    ++report.elements;
    if (report.worst_place.empty() || error > report.worst_error) {
      report.worst_error = error;
      report.worst_place = fmt::format("{}[{}]: backward {:.12g}, differences {:.12g}", name, i, a, numeric);
    }
    if (differences.selection_changed()) {
      report.problems.push_back(fmt::format("the selection changed while {}[{}] was moved", name, i));
      return;
    }
  }
}

}  // namespace

std::string GradcheckReport::to_string() const {
  std::string text =
      fmt::format("{} elements, worst relative error {:.3g} at {}", elements, worst_error, worst_place);
  for (const std::string& problem : problems) text += "\n" + problem;
  return text;
}

GradcheckReport gradcheck(const std::function<Variable()>& function, const Tensor& weights,
                          const std::vector<Variable>& parameters, const GradcheckOptions& options) {
  for (const Variable& parameter : parameters) {
    SMX_CHECK(parameter.dtype() == DType::f64, "[gradcheck] expected f64 parameters, got {} '{}'",
              describe(parameter.value()), parameter.name());
    parameter.clear_grad();
  }
  {
    Tape tape;
    const Variable y = function();
    tape.backward(y, weights.to(y.device()));
  }
  GradcheckReport report;
  Differences differences(function, weights, options.selection);
  for (std::size_t p = 0; p < parameters.size() && !differences.selection_changed(); ++p) {
    const Variable& parameter = parameters[p];
    const std::string name = name_of_parameter(parameter, p);
    if (!parameter.grad().defined()) {
      report.problems.push_back(name + ": no gradient arrives");
      continue;
    }
    if (!options.finite_only && !all_finite(parameter.grad()))
      report.problems.push_back(name + ": the gradient is not finite");
    if (!options.allow_zero_gradient && parameter.value().numel() > 0 &&
        largest_magnitude(parameter.grad().to_vector<double>()) == 0.0)
      report.problems.push_back(name + ": the gradient is zero everywhere");
    check_parameter(parameter, name, differences, options, report);
  }
  report.passed = report.problems.empty() && report.worst_error < options.tolerance;
  return report;
}

GradcheckReport gradcheck(const std::function<Variable()>& loss, const std::vector<Variable>& parameters,
                          const GradcheckOptions& options) {
  return gradcheck(loss, Tensor::full(loss().shape(), 1.0, DType::f64), parameters, options);
}

}  // namespace simsmoe::testing
