#include "tests/support/op_suite.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tests/support/op_checks.hpp"

namespace simsmoe::testing {

namespace {

bool lacks_kernel(const std::string& message) {
  return message.find("has no CUDA kernel") != std::string::npos;
}

bool applies(const OpCheck& check, const TestBench& bench) {
  if (check.needs_gradient && bench.differentiable().empty()) return false;
  if (check.f64_only && bench.dtype() != DType::f64) return false;
  const OpCase& c = bench.op_case();
  if (check.name == "numeric" && c.extreme) return false;  // no step is right for 1e30
  if (check.name == "aliasing" &&
      (!c.aliasing || c.extreme || c.nonfinite || bench.differentiable().size() < 2))
    return false;
  // CPU f64 is the reference itself
  return check.name != "reference" || !(bench.device().is_cpu() && bench.dtype() == DType::f64);
}

CheckResult named_result(const OpCase& op_case, Device device, DType dtype, std::string_view check) {
  CheckResult result;
  result.op = op_case.op;
  result.case_name = op_case.name;
  result.device = device.is_cpu() ? "cpu" : "cuda";
  result.dtype = name_of(dtype);
  result.check = check;
  return result;
}

CheckResult run_check(const TestBench& bench, std::string_view name, Outcome (*check)(const TestBench&)) {
  CheckResult result = named_result(bench.op_case(), bench.device(), bench.dtype(), name);
  try {
    const Outcome outcome = check(bench);
    result.worst_error = outcome.error;
    result.message = outcome.problem;
    result.passed = outcome.problem.empty();
  } catch (const std::exception& error) {
    result.message = error.what();
  }
  return result;
}

}  // namespace

std::string CheckResult::name() const {
  return fmt::format("ops/{}/{}/{}/{}/{}", op, case_name, device, dtype, check);
}

std::vector<Device> suite_devices() {
  std::vector<Device> devices = {kCpu};
  const Device gpu{DeviceType::cuda, 0};
  try {
    runtime(gpu);
    devices.push_back(gpu);
  } catch (const UserError&) {  // no CUDA in this build, or no GPU in this machine
  }
  return devices;
}

std::vector<CheckResult> run_case(const OpCase& op_case, Device device, DType dtype,
                                  const std::string& filter) {
  std::vector<CheckResult> results;
  const auto matches = [&](std::string_view check) {
    return named_result(op_case, device, dtype, check).name().find(filter) != std::string::npos;
  };
  const ThreadCount one_thread(1);  // cases are small; the check "threads" asks for two
  const TestBench bench(op_case, device, dtype);
  if (!op_case.error.empty()) {
    if (matches("errors")) results.push_back(run_check(bench, "errors", check_error));
  } else {
    for (const OpCheck& check : op_checks())
      if (applies(check, bench) && matches(check.name))
        results.push_back(run_check(bench, check.name, check.check));
  }
  std::erase_if(results, [](const CheckResult& result) { return lacks_kernel(result.message); });
  return results;
}

std::vector<CheckResult> run_suite(const std::string& filter,
                                   const std::function<void(const CheckResult&)>& on_result,
                                   const std::vector<OpCase>& cases) {
  std::vector<CheckResult> results;
  for (const OpCase& op_case : cases)
    for (const Device device : suite_devices())
      for (const DType dtype : op_case.dtypes)
        for (CheckResult& result : run_case(op_case, device, dtype, filter)) {
          if (on_result) on_result(result);
          results.push_back(std::move(result));
        }
  return results;
}

namespace {

struct Kinds {
  bool ordinary = false, nonfinite = false, extreme = false;
};

// Whether some float input of the case has a value for which `f` holds.
bool any_value(const OpCase& op_case, bool (*f)(double)) {
  return std::ranges::any_of(op_case.inputs, [&](const InputSpec& spec) {
    return is_float(spec.integer) && std::ranges::any_of(make_input(spec, "any").to_vector<double>(), f);
  });
}

}  // namespace

std::vector<std::string> missing_cases(const std::vector<OpCase>& cases) {
  std::map<std::string, Kinds> kinds;
  for (const OpCase& c : cases) {
    if (!c.error.empty() || std::ranges::none_of(c.inputs, &InputSpec::needs_grad)) continue;
    Kinds& k = kinds[c.op];
    k.ordinary = k.ordinary || !(c.nonfinite || c.extreme);
    k.nonfinite = k.nonfinite || (c.nonfinite && any_value(c, [](double x) { return !std::isfinite(x); }));
    k.extreme = k.extreme || (c.extreme && any_value(c, [](double x) {
                                return std::isfinite(x) && x != 0 && std::abs(std::log10(std::abs(x))) > 25;
                              }));
  }
  std::vector<std::string> missing;
  for (const auto& [op, k] : kinds) {
    if (!k.ordinary) missing.push_back(op + " has no ordinary case");
    if (!k.nonfinite) missing.push_back(op + " has no case with infinities or NaN (nonfinite)");
    if (!k.extreme) missing.push_back(op + " has no case with extreme magnitudes (extreme)");
  }
  return missing;
}

SuiteSummary summarize(const std::vector<CheckResult>& results) {
  SuiteSummary summary;
  std::set<std::string> ops, cases;
  for (const CheckResult& result : results) {
    ops.insert(result.op);
    cases.insert(result.op + "/" + result.case_name);
    ++summary.checks;
    if (!result.passed) ++summary.failed;
    if (result.check == "numeric") summary.worst_error = std::max(summary.worst_error, result.worst_error);
  }
  summary.ops = static_cast<std::int64_t>(ops.size());
  summary.cases = static_cast<std::int64_t>(cases.size());
  return summary;
}

}  // namespace simsmoe::testing
