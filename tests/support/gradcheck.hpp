#pragma once
// Is the gradient right? Compares what backward() computes with differences of the function's own values, for
// any function of any Variables: an op, a layer, a whole model.
//
//   auto report = gradcheck([&] { return model.loss(tokens, targets, ctx); }, store.parameters());
//   CHECK_MESSAGE(report.passed, report.to_string());

#include <functional>
#include <string>
#include <vector>

#include "engine/tape.hpp"

namespace simsmoe::testing {

struct GradcheckOptions {
  double tolerance = 1e-7;
  std::int64_t samples_per_tensor = 64;  // elements that are moved, spread evenly; all of a smaller tensor
  // What the function chose (experts of a router, positions of a maximum), asked after each evaluation. The
  // derivative exists only while it stays the same, so the check fails when moving an element changes it.
  std::function<std::vector<std::int64_t>()> selection = {};
  bool allow_zero_gradient = false;  // true: a gradient that is zero everywhere is no problem
  bool finite_only = false;  // true: elements that are not finite, or whose gradient is not, are passed over
};

struct GradcheckReport {
  bool passed = false;
  double worst_error = 0.0;           // of all elements that were moved
  std::string worst_place;            // "decoder.head.weight[17]: backward 0.25, differences 0.24"
  std::int64_t elements = 0;          // how many were moved
  std::vector<std::string> problems;  // parameters without a gradient or with zeros only, changed selections
  std::string to_string() const;      // one line, and one per problem
};

// `loss` computes one f64 element from `parameters` (all f64), the same for the same values; it is called
// many times.
//
// The difference is (8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))) / 12h, whose error falls with h^4, at
// h = 1e-3 and, where that is not good enough, at a tenth of it: rounding (1e-16 / h) and curvature leave
// about 1e-11. The error of an element is |backward - difference| relative to the largest entry of that
// gradient, or to 1e-6 where all are smaller.
GradcheckReport gradcheck(const std::function<Variable()>& loss, const std::vector<Variable>& parameters,
                          const GradcheckOptions& options = {});

// The same for sum(weights * y) of a function with any output; weights has its shape, f64.
GradcheckReport gradcheck(const std::function<Variable()>& function, const Tensor& weights,
                          const std::vector<Variable>& parameters, const GradcheckOptions& options = {});

}  // namespace simsmoe::testing
