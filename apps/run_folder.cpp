// Making, opening and naming run folders, and finding the checkpoint that a path means.

#include "apps/run_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "engine/check.hpp"

namespace simsmoe::app {

namespace fs = std::filesystem;

namespace {

// Nothing, or what a run writes before its first checkpoint.
bool holds_no_run(const fs::path& folder) {
  const auto names = {"config.toml", "manifest.json", "metrics.jsonl", "checkpoints"};
  const auto ours = [&](const fs::directory_entry& entry) {
    return std::ranges::find(names, entry.path().filename()) != names.end();
  };
  const fs::path checkpoints = folder / "checkpoints";
  return std::ranges::all_of(fs::directory_iterator(folder), ours) &&
         !fs::exists(checkpoints / "last.safetensors") && !fs::exists(checkpoints / "best.safetensors");
}

}  // namespace

void RunFolder::check_free(const std::string& path) {
  if (fs::exists(path) && !(fs::is_directory(path) && holds_no_run(path)))
    throw UserError(fmt::format(
        "{} exists already: choose another --out, or continue that run with train --resume {}", path, path));
}

RunFolder RunFolder::create(const std::string& path) {
  check_free(path);
  std::error_code error;
  const bool made = !fs::exists(path, error);
  fs::create_directories(fs::path(path) / "checkpoints", error);
  if (error) throw UserError(fmt::format("cannot make the run folder {}: {}", path, error.message()));
  return RunFolder(path, made);
}

RunFolder RunFolder::open(const std::string& path) {
  if (!fs::is_directory(path)) throw UserError(fmt::format("there is no run folder {}", path));
  RunFolder folder(path, false);
  if (!fs::exists(folder.last_checkpoint()))
    throw UserError(
        fmt::format("{} is not the folder of a run: it has no checkpoints/last.safetensors", path));
  return folder;
}

std::string RunFolder::next_free(const std::string& name) {
  for (int n = 1;; ++n) {
    std::string path = fmt::format("runs/{}-{}", name, n);
    if (!fs::exists(path)) return path;
  }
}

void RunFolder::remove() const {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, ignored))
    fs::remove_all(entry, ignored);
  if (made_) fs::remove(path_, ignored);
}

std::string find_checkpoint(const std::string& folder_or_file) {
  if (fs::is_directory(folder_or_file)) {
    const RunFolder folder = RunFolder::open(folder_or_file);
    return fs::exists(folder.best_checkpoint()) ? folder.best_checkpoint() : folder.last_checkpoint();
  }
  if (!fs::exists(folder_or_file))
    throw UserError(fmt::format("there is no run folder or checkpoint {}", folder_or_file));
  return folder_or_file;
}

}  // namespace simsmoe::app
