// Making, opening and naming run folders, and finding the checkpoint that a path means.

#include "apps/run_folder.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <ranges>
#include <system_error>

#include "engine/check.hpp"
#include "engine/file.hpp"

namespace simsmoe::app {

namespace fs = std::filesystem;

namespace {

constexpr const char* kCheckpoints = "checkpoints";

// What a run leaves that is killed before its first checkpoint: nothing but that, unfinished, in its folder.
bool is_unfinished(const fs::directory_entry& entry) {
  if (entry.path().filename() != kCheckpoints || !fs::is_directory(entry.symlink_status())) return false;
  return std::ranges::all_of(fs::directory_iterator(entry), [](const fs::directory_entry& file) {
    return file.path().filename() == "last.safetensors.tmp" && fs::is_regular_file(file.symlink_status());
  });
}

// Somebody else's first file, by name, or nothing. Links count as what they are.
std::string foreign_file(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (!is_unfinished(entry)) names.push_back(entry.path().filename().string());
  return names.empty() ? std::string() : *std::ranges::min_element(names);
}

[[noreturn]] void cannot_make(const std::string& path, const std::string& reason) {
  throw UserError(fmt::format("cannot make the run folder {}: {} (--out)", path, reason));
}

void remove_made(const std::vector<std::string>& made) {
  std::error_code in_use;  // by a file of somebody else: it stays
  for (const std::string& folder : made | std::views::reverse) fs::remove(folder, in_use);
}

// Makes the folder and those above it that are not there, and adds them to `made`.
void make_folders(const fs::path& path, std::vector<std::string>& made) {
  fs::path folder;
  for (const fs::path& part : path) {
    folder /= part;
    std::error_code error;
    if (fs::create_directory(folder, error)) made.push_back(folder.string());
    if (!error) continue;
    remove_made(made);
    cannot_make(path.string(), error.message());
  }
}

}  // namespace

void RunFolder::check_free(const std::string& path) {
  if (!fs::exists(fs::symlink_status(path))) return;
  if (fs::exists(path + "/checkpoints/last.safetensors"))
    throw UserError(fmt::format(
        "{} exists already: choose another --out, or continue that run with train --resume {}", path, path));
  if (!fs::is_directory(path))
    throw UserError(fmt::format("{} exists already and is not a folder: choose another --out", path));
  if (const std::string name = foreign_file(path); !name.empty())
    throw UserError(
        fmt::format("{} exists already and has {}: a run begins in a folder of its own, as --out {}", path,
                    name, (fs::path(path) / "run").string()));
}

RunFolder RunFolder::create(const std::string& path) {
  check_free(path);
  std::vector<std::string> made;
  make_folders(fs::path(path) / kCheckpoints, made);
  return {path, true, std::move(made)};
}

RunFolder RunFolder::create_next(const std::string& name) {
  std::vector<std::string> made;
  make_folders("runs", made);
  for (int n = 1;; ++n) {
    const std::string path = fmt::format("runs/{}-{}", name, n);
    if (::mkdir(path.c_str(), 0777) == 0) {  // which only one of several processes can
      made.push_back(path);
      make_folders(fs::path(path) / kCheckpoints, made);
      return {path, true, std::move(made)};
    }
    if (errno != EEXIST) cannot_make(path, std::strerror(errno));
  }
}

RunFolder RunFolder::open(const std::string& path) {
  if (!fs::exists(path)) throw UserError(fmt::format("there is no run folder {}", path));
  if (!fs::is_directory(path))
    throw UserError(fmt::format("{} is a file: expected the folder of a run", path));
  RunFolder folder(path, false);
  if (!fs::exists(folder.last_checkpoint()))
    throw UserError(
        fmt::format("{} is not the folder of a run: it has no checkpoints/last.safetensors", path));
  return folder;
}

void RunFolder::begin(const std::function<void(const std::string& path)>& save_checkpoint,
                      const std::string& config, const std::string& manifest) const {
  std::vector<std::string> written;
  const auto write = [&](const std::string& file, const std::function<void(const std::string&)>& how) {
    if (fs::exists(fs::symlink_status(file)))
      throw UserError(fmt::format("{} exists already: choose another --out", file));
    how(file);
    written.push_back(file);
  };
  const auto text = [](std::string_view content) {
    return [content](const std::string& file) { replace_file(file, std::span(&content, 1)); };
  };
  try {
    write(last_checkpoint(), save_checkpoint);
    write(this->config(), text(config));
    write(this->manifest(), text(manifest));
  } catch (...) {
    std::error_code gone;
    for (const std::string& file : written) fs::remove(file, gone);
    remove_made(made_);
    throw;
  }
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
