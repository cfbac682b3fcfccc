// Describes the op once; the suite checks it in every dtype: numeric gradient, accumulation, aliasing,
// bounds...

#include <cstdio>

#include "swish_gate.hpp"
#include "tests/support/op_suite.hpp"

using namespace simsmoe;
using namespace simsmoe::testing;

SMX_CASES(swish_gate) {
  const auto run = [](const Variables& x) { return own::swish_gate(x[0], x[1]); };
  add("swish_gate", "3x7", {rand({3, 7}), rand({3, 7})}, run);
  add("swish_gate", "large inputs", {rand({64}, -30.0, 30.0), rand({64})}, run);
  add("swish_gate", "no rows", {rand({0, 7}), rand({0, 7})}, run);
  add_error("swish_gate", "two shapes", {rand({3}), rand({4})}, run,
            "[swish_gate] expected two inputs of one shape");
}

int main() {
  const SuiteSummary summary = summarize(run_suite({}, [](const CheckResult& result) {
    if (!result.passed) std::printf("FAILED %s: %s\n", result.name().c_str(), result.message.c_str());
  }));
  std::printf("%d cases, %d checks, %d failed, worst error of a gradient %.1e\n",
              static_cast<int>(summary.cases), static_cast<int>(summary.checks),
              static_cast<int>(summary.failed), summary.worst_error);
  return summary.checks > 0 && summary.failed == 0 ? 0 : 1;
}
