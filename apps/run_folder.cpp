// See run_folder.hpp.

#include "apps/run_folder.hpp"

#include <filesystem>
#include <system_error>

#include "engine/check.hpp"

namespace simsmoe::app {

namespace fs = std::filesystem;

void RunFolder::check_free(const std::string& path) {
  std::error_code error;
  if (fs::exists(path, error) && !(fs::is_directory(path, error) && fs::is_empty(path, error)))
    throw UserError(fmt::format(
        "{} exists already: choose another --out, or continue that run with train --resume {}", path, path));
}

RunFolder RunFolder::create(const std::string& path) {
  check_free(path);
  std::error_code error;
  fs::create_directories(fs::path(path) / "checkpoints", error);
  if (error) throw UserError(fmt::format("cannot make the run folder {}: {}", path, error.message()));
  return RunFolder(path);
}

RunFolder RunFolder::open(const std::string& path) {
  if (!fs::is_directory(path)) throw UserError(fmt::format("there is no run folder {}", path));
  const RunFolder folder(path);
  if (!fs::exists(folder.last_checkpoint()))
    throw UserError(
        fmt::format("{} is not the folder of a run: it has no checkpoints/last.safetensors", path));
  return folder;
}

std::string RunFolder::next_free(const std::string& name) {
  for (int n = 1;; ++n) {
    const std::string path = fmt::format("runs/{}-{}", name, n);
    if (!fs::exists(path)) return path;
  }
}

void RunFolder::remove() const {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
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
