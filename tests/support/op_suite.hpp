#pragma once
// Runs every OpCase on every device in every dtype through every check. What the checks are is in
// op_checks.hpp; `simsmoe_app gradcheck` and tests/ops/suite_test.cpp are the two users.

#include <functional>
#include <string>
#include <vector>

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

struct CheckResult {
  std::string op, case_name, device, dtype, check;
  bool passed = false;
  double worst_error = 0.0;  // in the measure of the check; 0 where it compares bits
  std::string message;       // why it failed
  std::string name() const;  // "ops/softmax/3x7/cpu/bf16/reference"
};

struct SuiteSummary {
  std::int64_t ops = 0, cases = 0, checks = 0, failed = 0;
  double worst_error = 0.0;  // of the numeric gradient checks
};

std::vector<Device> suite_devices();  // the CPU, and the first GPU of a build with CUDA when there is one

// All checks of one case whose name() contains `filter`. Never throws: what a check throws becomes its
// message. A case without a kernel for the device has no results there.
std::vector<CheckResult> run_case(const OpCase& op_case, Device device, DType dtype,
                                  const std::string& filter = {});

// The given cases (by default all that are linked in) on all devices and dtypes. `on_result` is told at once.
std::vector<CheckResult> run_suite(const std::string& filter = {},
                                   const std::function<void(const CheckResult&)>& on_result = {},
                                   const std::vector<OpCase>& cases = op_cases());

// "<op> has no case with ..." for every differentiable op that lacks a case of some kind: ordinary,
// nonfinite, extreme. (A case counts when its inputs are what its flag says.)
std::vector<std::string> missing_cases(const std::vector<OpCase>& cases = op_cases());

SuiteSummary summarize(const std::vector<CheckResult>& results);

}  // namespace simsmoe::testing
