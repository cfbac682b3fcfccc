#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>

#include "tests/support/op_checks.hpp"
#include "tests/support/run_comparison.hpp"

// Every case of the suite with its float inputs brought to magnitudes from denormals to 1e38, and with infinities among
// them: value and gradients in f32 must be those of f64, rounded to f32. What a formula cannot keep is listed below.

using namespace simsmoe;
using namespace simsmoe::testing;

namespace {

constexpr double kMagnitudes[] = {1e-42, 1e-38, 1e-30, 1e-20, 1e-10, 1.0, 1e10, 1e20, 1e30, 1e38};
constexpr double kMost = double{std::numeric_limits<float>::max()}, kQuantum = 0x1p-149;

// What is granted to an op, or to its cases whose name contains `part`. The first that fits holds.
struct Allowance {
  std::string_view op = {}, part = {}, reason = {};
  double smallest_input = 0, largest_input = kMost;  // beyond them nothing is asked
  double quanta = 4;                                 // absolute error, in units of the smallest denormal
  double absolute = 0;                               // absolute error
  // Above 1: no number is asked for where the largest of the true ones times this leaves the range.
  double headroom = 1;
  // False: NaN or an infinity of either sign will do where the true result is infinite.
  bool infinite_alike = true;
};

constexpr double kNormal = 1e-38, kTerms = 16;
constexpr std::string_view kPartialSums =
    "terms and partial sums leave the range before the sum does, those of opposite sign make NaN; every "
    "denormal term is rounded";
constexpr std::string_view kSlope = "the slope leaves the range where its product with dy does not";
constexpr std::string_view kFromResult = "the slope is y (1 - y), and 1 - y has lost what is far below 1";
constexpr std::string_view kScores =
    "scores are products of queries and keys: large ones leave the range, or lose the differences that the "
    "gradient, dP - y . dy, consists of; small ones are denormal";
constexpr std::string_view kTimesRstd =
    "a denormal x - mean or g is rounded, and 1 / sqrt(eps) multiplies the error";

const Allowance kAllowances[] = {
    {.op = "matmul", .reason = kPartialSums, .quanta = 64, .headroom = kTerms, .infinite_alike = false},
    {.op = "linear", .reason = kPartialSums, .quanta = 64, .headroom = kTerms, .infinite_alike = false},
    {.op = "grouped_matmul",
     .reason = kPartialSums,
     .quanta = 64,
     .headroom = kTerms,
     .infinite_alike = false},
    {.op = "combine_tokens", .reason = kPartialSums, .headroom = kTerms, .infinite_alike = false},
    {.op = "squared_distances", .reason = kPartialSums, .headroom = kTerms, .infinite_alike = false},
    {.op = "mul", .reason = kPartialSums, .headroom = kTerms, .infinite_alike = false},
    {.op = "div", .reason = kSlope, .headroom = kTerms, .infinite_alike = false},
    {.op = "log", .reason = kSlope, .headroom = kTerms},
    {.op = "pow", .reason = kSlope, .headroom = kTerms},
    {.op = "sigmoid", .reason = kFromResult, .absolute = 0x1p-23},
    {.op = "attention",
     .reason = kScores,
     .smallest_input = kNormal,
     .largest_input = 1,
     .quanta = 64,
     .absolute = 1e-17},
    {.op = "causal_attention", .reason = kScores, .largest_input = 1},
    {.op = "cached_attention", .reason = kScores, .largest_input = 1},
    {.op = "layer_norm", .part = "weight only", .reason = kTimesRstd, .smallest_input = kNormal},
    {.op = "layer_norm", .reason = kTimesRstd, .quanta = 4096},
    {.op = "rms_norm", .reason = kTimesRstd, .quanta = 4096},
    {.op = "cross_entropy",
     .part = "weights",
     .reason =
         "the sum of denormal weights has few digits, and its reciprocal is infinite; as for smoothing 1",
     .smallest_input = kNormal,
     .absolute = 0x1p-23},
    {.op = "cross_entropy",
     .part = "smoothing 1",
     .reason = "the gradient is p - 1 / n, which cancels where the logits are nearly equal",
     .absolute = 0x1p-23},
    {.op = "sub",
     .part = "operators of tensors",
     .reason = "a composition, -(a + b c) / b - c, that cancels",
     .largest_input = 0},
    {.op = "recompute",
     .part = "two results",
     .reason = "a composition: exp(-1e20) is 0 times the infinite 1e40",
     .largest_input = 1e10},
    {.op = "recompute",
     .part = "a weight within",
     .reason =
         "a composition: tanh makes numbers of a product that left the range, and small ones are denormal",
     .smallest_input = kNormal,
     .largest_input = 1e10},
    {.op = "recompute",
     .part = "the input alone",
     .reason = "a composition: tanh makes numbers of a product that left the range",
     .largest_input = 1e10},
};

const Allowance kNone{};

const Allowance& allowance_of(const OpCase& c) {
  const auto found = std::ranges::find_if(kAllowances, [&](const Allowance& a) {
    return a.op == c.op && c.name.find(a.part) != std::string::npos;
  });
  return found == std::end(kAllowances) ? kNone : *found;
}

// What the float inputs become: one magnitude each, and perhaps an infinity in place of one element.
struct Setting {
  std::vector<double> magnitudes;
  std::size_t with_infinity = std::numeric_limits<std::size_t>::max();
  double infinity = 0;

  void apply(std::size_t input, std::vector<double>& values) const {
    const double largest = largest_magnitude(values), m = magnitudes[input];
    for (double& v : values)
      v = static_cast<double>(static_cast<float>(m == 1.0 || largest == 0 ? v : v / largest * m));
    if (input == with_infinity && !values.empty()) values[values.size() / 2] = infinity;
  }
  std::string text() const {
    std::string all;
    for (const double m : magnitudes) all += fmt::format("{} ", m);
    return all + (infinity == 0 ? "" : fmt::format("{} in {}", infinity, with_infinity));
  }
};

std::vector<std::size_t> float_inputs(const OpCase& c) {
  std::vector<std::size_t> floats;
  for (std::size_t i = 0; i < c.inputs.size(); ++i)
    if (is_float(c.inputs[i].integer)) floats.push_back(i);
  return floats;
}

// All inputs alike; each alone; every pair where there are two; an infinity of either sign in each.
std::vector<Setting> settings_of(const OpCase& c) {
  const std::vector<std::size_t> floats = float_inputs(c);
  const Setting plain{std::vector<double>(c.inputs.size(), 1.0)};
  std::vector<Setting> settings;
  for (const double m : kMagnitudes) {
    settings.push_back({std::vector<double>(c.inputs.size(), m)});
    for (const std::size_t i : floats) {
      settings.push_back(plain);
      settings.back().magnitudes[i] = m;
      for (const double other : kMagnitudes) {
        if (floats.size() != 2 || i != floats[0]) break;
        settings.push_back(plain);
        settings.back().magnitudes[i] = m;
        settings.back().magnitudes[floats[1]] = other;
      }
    }
  }
  for (const std::size_t i : floats)
    for (const double infinity : {kInfinity, -kInfinity}) settings.push_back({plain.magnitudes, i, infinity});
  return settings;
}

// Where `narrow`, f32, is not `exact`, f64, within what is allowed; empty when it is.
std::string difference(const Tensor& narrow, const Tensor& exact, double tolerance,
                       const Allowance& allowed) {
  const std::vector<double> got = narrow.to_vector<double>(), wanted = exact.to_vector<double>();
  const double largest = largest_magnitude(wanted);
  const bool near_limit = allowed.headroom > 1 && largest * allowed.headroom > kMost;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double x = got[i], y = static_cast<double>(static_cast<float>(wanted[i]));
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    if (!std::isfinite(x) && near_limit) continue;
    if (!std::isfinite(x) && std::isinf(y) && !allowed.infinite_alike) continue;
    if (!(std::abs(x - y) <=
          tolerance * std::min(largest, kMost) + allowed.quanta * kQuantum + allowed.absolute))
      return fmt::format("[{}] is {} instead of {}, the largest is {:.3g}", i, x, y, largest);
  }
  return {};
}

std::string difference(const Run& narrow, const Run& exact, double tolerance, const Allowance& allowed) {
  if (std::string d = difference(narrow.y, exact.y, tolerance, allowed); !d.empty()) return "y" + d;
  for (std::size_t i = 0; i < narrow.gradients.size(); ++i) {
    if (!narrow.gradients[i].defined()) continue;
    if (std::string d = difference(narrow.gradients[i], exact.gradients[i], tolerance, allowed); !d.empty())
      return fmt::format("gradient {}{}", i, d);
  }
  return {};
}

bool within(const OpCase& c, const Setting& setting, const Allowance& allowed) {
  return std::ranges::all_of(float_inputs(c), [&](std::size_t i) {
    return allowed.smallest_input <= setting.magnitudes[i] && setting.magnitudes[i] <= allowed.largest_input;
  });
}

bool is_asked(const OpCase& c) {
  constexpr std::int64_t kSmall = 1000;  // elements: bigger cases are there for threads and tails
  std::int64_t numel = 0;
  for (const InputSpec& spec : c.inputs) numel += spec.shape.numel();
  return c.error.empty() && numel <= kSmall && std::ranges::find(c.dtypes, DType::f32) != c.dtypes.end();
}

}  // namespace

TEST_CASE("f32 is f64 rounded, at every magnitude") {
  const ThreadCount one_thread(1);
  std::set<const Allowance*> needed;
  for (const OpCase& c : op_cases()) {
    if (!is_asked(c)) continue;
    const Allowance& allowed = allowance_of(c);
    const TestBench narrow(c, kCpu, DType::f32), exact(c, kCpu, DType::f64);
    const double tolerance = 2 * narrow.tolerance();
    for (const Setting& setting : settings_of(c)) {
      const auto change = [&](std::size_t i, std::vector<double>& values) { setting.apply(i, values); };
      const Run f32 = narrow.with_floats(change).run(), f64 = exact.with_floats(change).run();
      if (difference(f32, f64, tolerance, kNone).empty()) continue;
      needed.insert(&allowed);
      const std::string what = within(c, setting, allowed) ? difference(f32, f64, tolerance, allowed) : "";
      CHECK_MESSAGE(what.empty(), c.op, "/", c.name, " {", setting.text(), "}: ", what);
    }
  }
  for (const Allowance& allowed : kAllowances)
    CHECK_MESSAGE(needed.contains(&allowed), "nobody needs the allowance for ", allowed.op, " ",
                  allowed.part);
}
