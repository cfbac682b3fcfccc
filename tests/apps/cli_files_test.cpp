// What the commands read and write: files of somebody else that stay as they are, streams, packed and foreign files.

#include <map>
#include <set>

#include "apps/run_checkpoint.hpp"
#include "apps/run_folder.hpp"
#include "tests/apps/workplace.hpp"

using namespace simsmoe;
using namespace simsmoe::app;
namespace fs = std::filesystem;

namespace {

// Everything below a folder: a file with its content, a link with its target.
std::map<std::string, std::string> tree_of(const std::string& folder) {
  std::map<std::string, std::string> tree;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    std::string& content = tree[entry.path().string()];
    if (entry.is_symlink())
      content = "-> " + fs::read_symlink(entry).string();
    else if (entry.is_regular_file())
      content = read_file(entry.path().string());
  }
  return tree;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a run begins in a folder of its own and leaves alone what was in another") {
  const Workplace place;
  const fs::path exp = place.folder / "exp";
  const auto refused = [&](const std::string& named) {
    const auto before = tree_of(exp.string());
    CAPTURE(named);
    place.refused({"train", "tiny.toml", "--out", "exp"}, "exp exists already and has " + named);
    CHECK(tree_of(exp.string()) == before);
    fs::remove_all(exp);
  };
  for (const char* name : {"config.toml", "manifest.json", "metrics.jsonl", "notes", "config.toml.tmp",
                           "checkpoints/mine", "checkpoints/best.safetensors"}) {
    fs::create_directories((exp / name).parent_path());
    place.folder.file(std::string("exp/") + name, "of somebody");
    refused(std::string(name).substr(0, std::string(name).find('/')));
  }
  for (const char* name : {"config.toml", "checkpoints"}) {  // links, to something and to nothing
    fs::create_directory(exp);
    fs::create_symlink("../text", exp / name);
    refused(name);
    fs::create_directory(exp);
    fs::create_symlink("nothing", exp / name);
    refused(name);
  }
  fs::create_directories(exp / "checkpoints");
  fs::create_symlink("../../text", exp / "checkpoints/last.safetensors.tmp");
  refused("checkpoints");

  fs::create_directory(exp);
  fs::copy_file(place.folder / "tiny.toml", exp / "config.toml");
  const std::string mine = read_file((exp / "config.toml").string());
  place.refused({"train", "exp/config.toml", "--out", "exp"}, "as --out exp/run");
  CHECK(read_file((exp / "config.toml").string()) == mine);
  CHECK(place.run({"train", "exp/config.toml", "--out", "exp/run"}).exit_code == 0);

  fs::create_directories(place.folder / "empty/folder");
  fs::create_directory_symlink("empty/folder", place.folder / "link");
  CHECK(place.run({"train", "tiny.toml", "--out", "link"}).exit_code == 0);
  CHECK(fs::is_symlink(place.folder / "link"));
}

TEST_CASE("runs without --out that begin at the same time have a folder each, named after their text") {
  const Workplace place;
  const std::string train =
      "$app train --data.path=text --model.dim=8 --model.heads=1 --train.steps=1 --threads 1";
  REQUIRE(place.shell(fmt::format("{0} & {0} & {0} & wait", train)).exit_code == 0);
  for (int n = 1; n <= 3; ++n)
    CHECK(fs::exists(place.folder / fmt::format("runs/text-{}/checkpoints/best.safetensors", n)));
  CHECK(fs::exists(place.folder / "runs/text-4") == false);
  CHECK(place.shell("$app train tiny.toml --threads 1 && test -d runs/tiny-1").exit_code == 0);
}

TEST_CASE("an edited config.toml is no way to change a run, and stays as it is") {
  const Workplace place(true);
  const std::string path = place.folder / "run/config.toml", before = read_file(path);
  const auto edit = [&](const std::string& from, const std::string& to) {
    std::string text = before;
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    place.folder.file("run/config.toml", text.replace(at, from.size(), to));
    return read_file(path);
  };
  std::string edited = edit("dropout = 0.1", "dropout = 0.25");
  place.refused({"train", "--resume", "run"},
                "run/config.toml was edited, model.dropout = 0.25 instead of 0.1: a resumed run keeps its");
  CHECK(read_file(path) == edited);
  edited = edit("[train]", "# a note of somebody\n[train]");
  CHECK(place.run({"train", "--resume", "run"}).exit_code == 0);
  CHECK(read_file(path) == edited);
  edit("steps = 40", "steps = 60");
  CHECK(contains(place.run({"train", "--resume", "run"}).err,
                 "has train.steps = 60, but this run 40; --train.steps changes it"));
  CHECK(place.run({"train", "--resume", "run", "--train.steps=42"}).exit_code == 0);
  CHECK(contains(read_file(path), "\nsteps = 42 "));
}
