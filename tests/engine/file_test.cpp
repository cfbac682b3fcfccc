#include "engine/file.hpp"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <thread>
#include <vector>

#include "tests/engine/support.hpp"

using namespace simsmoe;
using testing::contains;
using testing::message_of;

namespace {

void replace(const std::string& path, const std::vector<std::string_view>& pieces) {
  replace_file(path, pieces);
}

std::size_t files_in(const testing::TemporaryFolder& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder.path()), {}));
}

// While it lives, a file of this process may not grow beyond `bytes`: a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("file: what was written is read") {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("a");
  replace(path, {"one ", "", std::string_view("t\0o", 3)});
  CHECK(read_file(path) == std::string("one t\0o", 7));
  replace(path, {});
  CHECK(read_file(path).empty());
  CHECK(files_in(folder) == 1);
}

TEST_CASE("file: a stream is read to its end, however it arrives") {
  const testing::TemporaryFolder folder;
  const std::string pipe = folder.file("pipe"), text(300'000, 'x');
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::thread writer([&] {
    std::ofstream out(pipe);
    out << text.substr(0, 10) << std::flush << text.substr(10);
  });
  CHECK(read_file(pipe) == text);
  writer.join();
}

TEST_CASE("file: what stands where the new file is written first is not written through") {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("a"), precious = folder.file("precious");
  replace(precious, {"of somebody"});
  std::filesystem::create_symlink(precious, path + ".tmp");
  replace(path, {"new"});
  CHECK(read_file(path) == "new");
  CHECK(!std::filesystem::is_symlink(path));
  CHECK(read_file(precious) == "of somebody");
}

TEST_CASE("file: a full disk is one error, and the old file stays") {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("a"), large(100'000, 'x');
  replace(path, {"old"});
  {
    const FileSizeLimit limit(50'000);
    CHECK(message_of<UserError>([&] {
            replace(path, {"head", large});
          }) == "cannot write " + path + ".tmp: File too large");
  }
  CHECK(read_file(path) == "old");
  CHECK(files_in(folder) == 1);
}

TEST_CASE("file: what cannot be read or written is named with the reason") {
  const testing::TemporaryFolder folder;
  const std::string missing = folder.file("no/such"), directory = folder.path().string();
  CHECK(message_of<UserError>([&] { read_file(missing); }) ==
        "cannot read " + missing + ": No such file or directory");
  CHECK(message_of<UserError>([&] { read_file(directory); }) ==
        "cannot read " + directory + ": Is a directory");
  CHECK(contains(message_of<UserError>([&] { replace(missing, {"x"}); }), "No such file or directory"));
  std::filesystem::create_directory(folder.file("taken"));
  CHECK(contains(message_of<UserError>([&] { replace(folder.file("taken"), {"x"}); }), "Is a directory"));
  CHECK(files_in(folder) == 1);
}
