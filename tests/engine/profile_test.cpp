#include "engine/profile.hpp"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/engine/support.hpp"

using namespace simsmoe;
using testing::contains;

namespace {
std::string table() {
  std::ostringstream out;
  profile::print_table(out);
  return out.str();
}
}  // namespace

TEST_CASE("profile: scopes count per op and phase while it is on") {
  { const profile::Scope before("before"); }
  profile::start();
  CHECK(profile::enabled());
  for (int i = 0; i < 3; ++i) {
    const profile::Scope outer("outer");
    const profile::Scope inner("inner", profile::Phase::backward);
  }
  profile::stop();
  { const profile::Scope after("after"); }
  const std::string text = table();
  CHECK(contains(text, "outer                        forward          3"));
  CHECK(contains(text, "inner                        backward         3"));
  CHECK(text.find("outer") < text.find("inner"));  // largest first: the outer scope contains the inner one
  CHECK_FALSE(contains(text, "before"));
  CHECK_FALSE(contains(text, "after"));
  profile::start();
  profile::stop();
  CHECK_FALSE(contains(table(), "outer"));
}

TEST_CASE("profile: the trace is what Chrome reads") {
  const testing::TemporaryFolder folder;
  profile::start(true);
  {
    const profile::Scope outer("outer");
    const profile::Scope inner("inner", profile::Phase::other);
  }
  profile::stop();
  profile::write_chrome_trace(folder.file("trace.json"));
  std::ifstream file(folder.file("trace.json"));
  const nlohmann::json events = nlohmann::json::parse(file).at("traceEvents");
  REQUIRE(events.size() == 2);
  const nlohmann::json &inner = events[0], &outer = events[1];  // in the order of their ends
  CHECK(inner.at("name") == "inner");
  CHECK(inner.at("cat") == "other");
  CHECK(inner.at("ph") == "X");
  CHECK(outer.at("ts") == 0.0);
  CHECK(inner.at("dur") <= outer.at("dur"));
  CHECK(testing::message_of([&] { profile::write_chrome_trace(folder.file("no/such/folder")); }) ==
        "[profile] cannot write " + folder.file("no/such/folder"));
}
