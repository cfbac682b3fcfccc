#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "tests/support/op_checks.hpp"
#include "tests/support/op_suite.hpp"

// Every case through every check. A slice: ops_tests --test-case=softmax
// --subcase='ops/softmax/3x7/cpu/bf16'.

using namespace simsmoe;
using namespace simsmoe::testing;

namespace {

void check_family(const std::string& family) {
  bool any = false;
  for (const OpCase& op_case : op_cases()) {
    if (op_case.family != family) continue;
    any = true;
    for (const Device device : suite_devices())
      for (const DType dtype : op_case.dtypes) {
        const std::string slice = fmt::format("ops/{}/{}/{}/{}", op_case.op, op_case.name,
                                              device.is_cpu() ? "cpu" : "cuda", name_of(dtype));
        SUBCASE(slice.c_str()) {
          for (const CheckResult& result : run_case(op_case, device, dtype))
            CHECK_MESSAGE(result.passed, result.name(), ": ", result.message);
        }
      }
  }
  CHECK(any);
}

}  // namespace

#include "suite_families.inc"

TEST_CASE("every op shares its loops among the threads in some case") {
  const ThreadCount two_threads(2);
  std::set<std::string> ops, shared;
  for (const OpCase& op_case : op_cases()) {
    if (!op_case.error.empty()) continue;
    ops.insert(op_case.op);
    const TestBench bench(op_case, kCpu, op_case.dtypes.front());
    const ShareEveryLoop sharing;
    bench.run();
    if (sharing.loops() > 0) shared.insert(op_case.op);
  }
  for (const std::string& op : ops) CHECK_MESSAGE(shared.contains(op), op);
}

TEST_CASE("every op has its ordinary, its non-finite and its extreme cases") {
  for (const std::string& sentence : missing_cases()) FAIL_CHECK(sentence);
}

TEST_CASE("every recorded op has a case") {
  std::set<std::string> described;
  for (const OpCase& op_case : op_cases()) {
    described.insert(op_case.op);
    if (op_case.error.empty()) run_case(op_case, kCpu, op_case.dtypes.front(), "/arrives");
  }
  described.insert("planted");  // the wrong ops of planted_test.cpp, when they ran in this process before
  CHECK_FALSE(recorded_ops().empty());
  for (const std::string& op : recorded_ops()) CHECK_MESSAGE(described.contains(op), op, " has no case");
}
