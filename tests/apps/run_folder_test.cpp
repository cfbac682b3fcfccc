// Run folders and their metrics file.

#include <doctest/doctest.h>

#include <functional>

#include <nlohmann/json.hpp>

#include "apps/folder_lock.hpp"
#include "apps/metrics_log.hpp"
#include "apps/run_folder.hpp"
#include "engine/file.hpp"
#include "engine/progress.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;
namespace fs = std::filesystem;

TEST_CASE("a run folder is made where nothing is, and opened where a run is") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder / "a/b");
  CHECK(fs::is_directory(folder / "a/b/checkpoints"));
  RunFolder::create(folder / "a/b");
  CHECK_THROWS_WITH_AS(RunFolder::open(folder / "a/b"), doctest::Contains("not the folder of a run"),
                       UserError);
  CHECK_THROWS_WITH_AS(RunFolder::open(folder / "no"), doctest::Contains("there is no run folder"),
                       UserError);
  folder.file("file", "x");
  CHECK_THROWS_AS(RunFolder::create(folder / "file"), UserError);
  CHECK_THROWS_AS(RunFolder::create(folder / "file/inside"), UserError);
  fs::create_directory(folder / "empty");
  RunFolder::create(folder / "empty");

  std::ofstream(run.last_checkpoint()) << "x";
  CHECK(find_checkpoint(run.path()) == run.last_checkpoint());
  std::ofstream(run.best_checkpoint()) << "x";
  CHECK(find_checkpoint(RunFolder::open(run.path()).path()) == run.best_checkpoint());
  CHECK(find_checkpoint(run.last_checkpoint()) == run.last_checkpoint());
  CHECK_THROWS_AS(find_checkpoint(folder / "no"), UserError);
}

TEST_CASE("a run that cannot begin takes back what it wrote, and nothing else") {
  const TemporaryFolder folder;
  const auto fails = [&](const RunFolder& run, const std::function<void(const std::string&)>& save,
                         const char* message) {
    CHECK_THROWS_WITH_AS(run.begin(save, "config", "manifest"), doctest::Contains(message), UserError);
  };
  const auto full_disk = [](const std::string&) { throw UserError("disk full"); };
  const auto write = [](const std::string& path) { std::ofstream(path) << "x"; };

  fails(RunFolder::create(folder / "a/b"), full_disk, "disk full");
  CHECK(!fs::exists(folder / "a"));
  fs::create_directories(folder / "a/b/checkpoints");
  fails(RunFolder::create(folder / "a/b"), full_disk, "disk full");
  CHECK(fs::is_empty(folder / "a/b/checkpoints"));

  // Somebody writes beside it in the meantime.
  fs::remove_all(folder / "a");
  const RunFolder run = RunFolder::create(folder / "a/b");
  folder.file("a/b/notes", "mine");
  fails(run, full_disk, "disk full");
  CHECK(read_file(folder / "a/b/notes") == "mine");
  CHECK(!fs::exists(folder / "a/b/checkpoints"));
  fs::remove(folder / "a/b/notes");
  for (const char* name : {"config.toml", "manifest.json"}) {
    const RunFolder other = RunFolder::create(folder / "a/b");
    folder.file(std::string("a/b/") + name, "mine");
    fails(other, write, "exists already");
    CHECK(read_file(folder / (std::string("a/b/") + name)) == "mine");
    CHECK(std::distance(fs::directory_iterator(folder / "a/b"), {}) == 1);
    fs::remove(folder / (std::string("a/b/") + name));
  }
  const RunFolder late = RunFolder::create(folder / "c");
  folder.file("c/checkpoints/last.safetensors", "of another run");
  fails(late, write, "exists already");
  CHECK(read_file(late.last_checkpoint()) == "of another run");
}

TEST_CASE("a run begins with its checkpoint, its configuration and its manifest") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder / "run");
  CHECK(run.is_new());
  run.begin(
      [&](const std::string& path) {
        CHECK(
            !fs::exists(run.config()));  // or a run that is killed here would leave a folder that is nobody's
        std::ofstream(path) << "checkpoint";
      },
      "config", "manifest");
  CHECK(read_file(run.last_checkpoint()) == "checkpoint");
  CHECK(read_file(run.config()) == "config");
  CHECK(read_file(run.manifest()) == "manifest");
  CHECK_FALSE(RunFolder::open(run.path()).is_new());
}

TEST_CASE("a run that was killed before its first checkpoint is in nobody's way") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder / "run");
  folder.file("run/checkpoints/last.safetensors.tmp", "x");
  RunFolder::check_free(run.path());
  folder.file("run/notes", "of somebody");
  CHECK_THROWS_WITH_AS(RunFolder::check_free(run.path()), doctest::Contains("exists already"), UserError);
  fs::remove(folder / "run/notes");
  folder.file("run/checkpoints/last.safetensors", "x");
  CHECK_THROWS_WITH_AS(RunFolder::check_free(run.path()), doctest::Contains("exists already"), UserError);
}

TEST_CASE("a folder is locked once") {
  const TemporaryFolder folder;
  const std::string path = folder.path.string();
  {
    const FolderLock lock(path, IfLocked::refuse);
    CHECK_THROWS_WITH_AS(FolderLock(path, IfLocked::refuse),
                         doctest::Contains("another process is writing in"), UserError);
  }
  const FolderLock again(path, IfLocked::wait);
}

TEST_CASE("resuming the metrics drops what lies behind the checkpoint, and a line that was cut off") {
  const TemporaryFolder folder;
  const std::string path = folder / "metrics.jsonl";
  {
    MetricsLog log(path, 0);
    for (int step = 1; step <= 4; ++step) log.append({{"step", step}, {"x", 0.1 * step}});
  }
  std::ofstream(path, std::ios::app) << "{\"step\": 5, \"x";
  const std::string whole = read_file(path);
  { const MetricsLog log(path, 4); }
  CHECK(read_file(path) == whole.substr(0, whole.find("{\"step\": 5")));
  { const MetricsLog log(path, 2); }
  CHECK(read_file(path) == whole.substr(0, whole.find("{\"step\":3")));
  {
    MetricsLog log(path, 2);
    log.append({{"step", 3}, {"x", std::nan("")}, {"text", "\xff"}});
  }
  CHECK(read_file(path).ends_with("{\"step\":3,\"x\":null,\"text\":\"\xef\xbf\xbd\"}\n"));
  CHECK_THROWS_AS(MetricsLog(folder / "no/metrics.jsonl", 0), UserError);
  const std::string first = "{\"step\":1}\n",
                    other = folder.file("other", first + "{\"x\":1}\n{\"step\":2}\n");
  { const MetricsLog log(other, 5); }
  CHECK(read_file(other) == first);  // what follows a line of nobody is not trusted
}

TEST_CASE("times left are short to read") {
  CHECK(duration_text(42.4) == "0:42");
  CHECK(duration_text(59.6) == "1:00");
  CHECK(duration_text(3723) == "1:02:03");
}
