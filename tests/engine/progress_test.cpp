// The bar of long work: what fits on a line, and what a terminal is sent.

#include "engine/progress.hpp"

#include <chrono>
#include <thread>

#include "engine/log.hpp"
#include "tests/engine/support.hpp"
#include "tests/engine/terminal.hpp"

using namespace simsmoe;
using testing::contains;
using testing::Terminal;

namespace {

const std::vector<std::string> kDetails{"1200/2400", "loss 1.8230", "17123 tokens/s"};

// Drawn for sure: bars are redrawn ten times a second at most.
void draw(Progress& bar, std::int64_t done, std::int64_t total) {
  std::this_thread::sleep_for(std::chrono::milliseconds(101));
  bar.advance(done, total, kDetails);
}

std::string drawn(std::int64_t done, std::int64_t total, unsigned short columns = 200,
                  const char* variable = "UNUSED", const char* value = "") {
  const Terminal terminal(columns);
  const char* const before = std::getenv(variable);
  const std::string kept = before == nullptr ? "" : before;
  ::setenv(variable, value, 1);
  std::string text;
  {
    Progress bar("name");
    draw(bar, done, total);
    text = terminal.text();
  }
  if (before == nullptr)
    ::unsetenv(variable);
  else
    ::setenv(variable, kept.c_str(), 1);
  return text;
}

}  // namespace

TEST_CASE("progress: a bar shows what there is room for, the most important first") {
  const auto at = [](int columns) { return bar_text("validation", 0.5, 42.0, kDetails, columns); };
  CHECK(at(20) == " 50 %  0:42 left");
  CHECK(at(40) == "validation [####.....]  50 %  0:42 left");
  CHECK(at(60) == "validation [##...]  50 %  1200/2400  loss 1.8230  0:42 left");
  CHECK(at(80) == "validation [####.....]  50 %  1200/2400  loss 1.8230  17123 tokens/s  0:42 left");
  CHECK(at(200) ==
        "validation [############............]  50 %  1200/2400  loss 1.8230  17123 tokens/s  0:42 left");
  CHECK(bar_text("", 0.5, 42.0, kDetails, 40) == "[####.....]  50 %  1200/2400  0:42 left");
}

TEST_CASE("progress: no bar is as long as its terminal, and a wider one shows no less") {
  for (const char* name : {"", "hashing", "final validation"})
    for (const double share : {0.0, 0.004, 0.5, 0.999, 1.0})
      for (const double left : {-1.0, 0.0, 42.0, 35999.0}) {
        std::size_t before = 0;
        for (int columns = 20; columns <= 250; ++columns) {
          const std::string text = bar_text(name, share, left, kDetails, columns);
          CAPTURE(text);
          CAPTURE(columns);
          REQUIRE(text.size() < static_cast<std::size_t>(columns));
          REQUIRE(contains(text, fmt::format("{} %", static_cast<int>(100.0 * share))));
          REQUIRE(contains(text, " left") == (left >= 0.0));
          REQUIRE(text.size() >= before);
          before = text.size();
        }
      }
}

TEST_CASE("progress: nothing is done before all is") {
  CHECK(bar_text("", 0.9999, 1.0, {}, 80) == "[#######################.]  99 %  0:01 left");
  CHECK(bar_text("", 1.0, 0.0, {}, 80) == "[########################] 100 %  0:00 left");
  CHECK(bar_text("", 0.0, -1.0, {}, 80) == "[........................]   0 %");
}

TEST_CASE("progress: on a terminal a bar is drawn, the cursor at its beginning, and erased at the end") {
  const Terminal terminal;
  {
    Progress bar("name", 10);
    draw(bar, 10, 20);
    const std::string first = terminal.text();
    CHECK(first.starts_with("\r\x1b[J\x1b[?7lname ["));
    CHECK(contains(first, " 50 %"));
    CHECK_FALSE(contains(first, "left"));  // nothing is known about the speed
    CHECK(first.ends_with("\r\x1b[?7h"));
    draw(bar, 15, 20);
    CHECK(contains(terminal.text(), " left\r"));
  }
  CHECK(terminal.text() == "\r\x1b[J");
}

TEST_CASE("progress: lines of the log are written where the bar was, which comes back below them") {
  const Terminal terminal;
  Progress bar("name");
  draw(bar, 1, 2);
  terminal.text();
  log_info("a line");
  log_warn("another");
  CHECK(terminal.text() == "\r\x1b[Ja line\r\nwarning: another\r\n");
  bar.advance(1, 2);
  CHECK(contains(terminal.text(), "name ["));
  bar.advance(2, 2);  // too soon
  CHECK(terminal.text().empty());
}

TEST_CASE("progress: work within work shows its own bar") {
  const Terminal terminal;
  Progress outer("outer");
  draw(outer, 1, 2);
  terminal.text();
  {
    const Watch inner = watch("inner");
    std::this_thread::sleep_for(std::chrono::milliseconds(101));
    inner(1, 2);
    CHECK(terminal.text().starts_with("\r\x1b[J\x1b[?7linner ["));
  }
  CHECK(terminal.text() == "\r\x1b[J");
  outer.advance(2, 2);
  CHECK(terminal.text().starts_with("\r\x1b[J\x1b[?7louter ["));
}

TEST_CASE("progress: the width is that of the moment") {
  const Terminal terminal(200);
  Progress bar("name");
  draw(bar, 1, 2);
  CHECK(contains(terminal.text(), "17123 tokens/s"));
  terminal.resize(30);
  draw(bar, 1, 2);
  const std::string narrow = terminal.text();
  CHECK(contains(narrow, " 50 %  0:00 left"));
  CHECK_FALSE(contains(narrow, "loss"));
  terminal.resize(19);
  draw(bar, 1, 2);
  CHECK(terminal.text() == "\r\x1b[J");
  terminal.resize(0);  // not known
  draw(bar, 1, 2);
  CHECK(contains(terminal.text(), "loss"));
}

TEST_CASE("progress: colour unless NO_COLOR says no, no bar on a dumb terminal nor where there is none") {
  CHECK(contains(drawn(1, 2), "[\x1b[36m############\x1b[0m............]"));
  CHECK(contains(drawn(1, 2, 200, "NO_COLOR", "1"), "[############............]"));
  CHECK(contains(drawn(1, 2, 200, "NO_COLOR", ""), "\x1b[36m"));
  CHECK(drawn(1, 2, 200, "TERM", "dumb").empty());
  CHECK(drawn(1, 2, 19).empty());
  const testing::TemporaryFolder folder;
  const int saved = ::dup(STDERR_FILENO),
            file = ::open(folder.file("stderr").c_str(), O_RDWR | O_CREAT, 0600);
  ::dup2(file, STDERR_FILENO);
  {
    Progress bar("name");
    draw(bar, 1, 2);
  }
  ::dup2(saved, STDERR_FILENO);
  CHECK(::lseek(file, 0, SEEK_END) == 0);
  ::close(saved);
  ::close(file);
}
