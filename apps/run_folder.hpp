#pragma once
// A run is a folder: config.toml (resolved), manifest.json, metrics.jsonl and checkpoints/. See README.md. A run writes its
// own files only: it begins in a folder that it makes or that is empty, and takes back nothing but what it wrote.

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace simsmoe::app {

class RunFolder {
 public:
  // Throws UserError when there is something at `path` already. A run that was killed before its first
  // checkpoint counts as nothing: there is no going on with it.
  static void check_free(const std::string& path);
  // Makes the folder. Throws UserError when it is not free or cannot be made.
  static RunFolder create(const std::string& path);
  // The same as "runs/<name>-<n>" with the smallest n >= 1 that nothing has, nor any run that begins at the same time.
  static RunFolder create_next(const std::string& name);
  // Throws UserError when `path` is not the folder of a run.
  static RunFolder open(const std::string& path);

  const std::string& path() const { return path_; }
  std::string config() const { return path_ + "/config.toml"; }
  std::string manifest() const { return path_ + "/manifest.json"; }
  std::string metrics() const { return path_ + "/metrics.jsonl"; }
  std::string result() const { return path_ + "/result.json"; }
  std::string last_checkpoint() const { return path_ + "/checkpoints/last.safetensors"; }
  std::string best_checkpoint() const { return path_ + "/checkpoints/best.safetensors"; }
  std::string numbered_checkpoint(std::int64_t step) const {
    return fmt::format("{}/checkpoints/step-{:06}.safetensors", path_, step);
  }

  bool is_new() const { return new_; }  // made by create(), not opened
  // What a new run begins with, the first checkpoint before all else: a folder without one is nobody's. When one of the
  // files cannot be written, those that were, and the folders that create() made, are gone again.
  void begin(const std::function<void(const std::string& path)>& save_checkpoint, const std::string& config,
             const std::string& manifest) const;

 private:
  RunFolder(std::string path, bool is_new, std::vector<std::string> made = {})
      : path_(std::move(path)), new_(is_new), made_(std::move(made)) {}

  std::string path_;
  bool new_;
  std::vector<std::string> made_;  // folders, by create(), the outermost first
};

// The checkpoint that DIR|CHECKPOINT means: a file itself, of a run its best one, or its last while there is
// no best. Throws UserError when there is none.
std::string find_checkpoint(const std::string& folder_or_file);

}  // namespace simsmoe::app
