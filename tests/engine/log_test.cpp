#include "engine/log.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "engine/file.hpp"
#include "tests/engine/support.hpp"

using namespace simsmoe;

namespace {

// What f writes to stderr.
template <class F>
std::string stderr_of(const F& f) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("stderr");
  const int saved = ::dup(STDERR_FILENO), file = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
  REQUIRE(::dup2(file, STDERR_FILENO) >= 0);
  f();
  std::fflush(stderr);
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  ::close(file);
  return read_file(path);
}

}  // namespace

TEST_CASE("log: lines go to stderr") {
  const auto both = [] {
    log_info("read {} tensors", 3);
    log_warn("{} is old", "a.toml");
  };
  CHECK(stderr_of(both) == "read 3 tensors\nwarning: a.toml is old\n");
}

TEST_CASE("log: control bytes are shown and not obeyed") {
  CHECK(stderr_of([] { log_info("sample: {}", "a\x1b[2Jb\n\xFF"); }) == "sample: a\\x1b[2Jb\n\\xff\n");
}
