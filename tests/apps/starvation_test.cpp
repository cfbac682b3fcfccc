// Who starves, and since when.
#include "apps/starvation.hpp"

#include <doctest/doctest.h>

using namespace simsmoe::app;

namespace {

using Values = std::map<std::string, double>;

Values loads(double first, double second) {
  return {{"a/load.0", first},  {"a/load.1", second}, {"a/load.2", 1.0 - first - second},
          {"a/load.3", 0.0251}, {"a/load_max", 0.7},  {"b/load.0", 1.0}};
}

}  // namespace

TEST_CASE("starvation: an expert below 1/(10 E) in a hundred logged steps in a row is named, once") {
  StarvationWatch watch;
  for (int step = 1; step <= 300; ++step) {
    CAPTURE(step);
    Values values = loads(0.0249, step == 150 ? 0.5 : 0.0);  // of four experts: below 1/40
    const std::vector<std::string> said = watch.take(values);
    CHECK(values == Values{{"a/load_max", 0.7}});
    // Expert 0 from the first step on, expert 1 with a break.
    REQUIRE(said.size() == (step == 100 ? 2 : step == 250 ? 1 : 0));
    if (said.empty()) continue;
    CHECK(said.front().starts_with(step == 100 ? "expert 0 of a starves: less than 1/40 of the choices in 100"
                                               : "expert 1 of a starves"));
    CHECK(said.back().starts_with("expert 1 of a starves"));
  }
}
