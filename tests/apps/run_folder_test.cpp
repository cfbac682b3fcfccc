// Run folders and their metrics file.

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "apps/metrics_log.hpp"
#include "apps/progress.hpp"
#include "apps/run_folder.hpp"
#include "engine/file.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;
namespace fs = std::filesystem;

TEST_CASE("a run folder is made where nothing is, and opened where a run is") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder / "a/b");
  CHECK(fs::is_directory(folder / "a/b/checkpoints"));
  CHECK_THROWS_WITH_AS(RunFolder::create(folder / "a/b"), doctest::Contains("exists already"), UserError);
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
}

TEST_CASE("times left are short to read") {
  CHECK(duration_text(42.4) == "0:42");
  CHECK(duration_text(59.6) == "1:00");
  CHECK(duration_text(3723) == "1:02:03");
}
