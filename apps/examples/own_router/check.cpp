// Says what the router promises and has the suite try it: for every k, alone and with similarity learning on
// top.

#include <cstdio>

#include "distance_router.hpp"
#include "tests/moe/router_contract/contract.hpp"

using namespace simsmoe;
using namespace simsmoe::testing;

int main() {
  int runs = 0, broken = 0;
  for (const std::int64_t k : {1, 2, 4})
    for (const bool similarity : {false, true}) {
      Promise promise;
      promise.name = "distance";
      promise.options.custom_router = own::distance_router();
      promise.options.k = k;
      promise.options.similarity.enabled = similarity;
      promise.options.similarity.frequency = 0.05;  // a few pairs of experts are compared in every pass
      promise.options.similarity.threshold = -1.0;  // and pushed apart
      promise.uniform_balance = 1.0;
      for (const Violation& violation : check_router(promise)) {
        std::printf("FAILED k = %d: %s: %s\n", static_cast<int>(k), violation.clause.c_str(),
                    violation.message.c_str());
        ++broken;
      }
      ++runs;
    }
  std::printf("%d runs of %d clauses, %d violations\n", runs, static_cast<int>(clause_names().size()),
              broken);
  return broken == 0 ? 0 : 1;
}
