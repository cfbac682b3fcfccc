#pragma once
// A run is a folder: config.toml (resolved), manifest.json, metrics.jsonl and checkpoints/. See README.md.

#include <string>

namespace simsmoe::app {

class RunFolder {
 public:
  // Throws UserError when there is something at `path` already. A run that was killed before its first
  // checkpoint counts as nothing: there is no going on with it.
  static void check_free(const std::string& path);
  // Makes the folder. Throws UserError when it is not free or cannot be made.
  static RunFolder create(const std::string& path);
  // Throws UserError when `path` is not the folder of a run.
  static RunFolder open(const std::string& path);
  // "runs/<name>-<n>" with the smallest n >= 1 that is free.
  static std::string next_free(const std::string& name);

  const std::string& path() const { return path_; }
  std::string config() const { return path_ + "/config.toml"; }
  std::string manifest() const { return path_ + "/manifest.json"; }
  std::string metrics() const { return path_ + "/metrics.jsonl"; }
  std::string last_checkpoint() const { return path_ + "/checkpoints/last.safetensors"; }
  std::string best_checkpoint() const { return path_ + "/checkpoints/best.safetensors"; }

  // Takes back what create() made: for a run that fails before its first checkpoint. A folder that was there
  // before, empty, stays so.
  void remove() const;

 private:
  RunFolder(std::string path, bool made) : path_(std::move(path)), made_(made) {}
  std::string path_;
  bool made_;  // by create()
};

// The checkpoint that DIR|CHECKPOINT means: a file itself, of a run its best one, or its last while there is
// no best. Throws UserError when there is none.
std::string find_checkpoint(const std::string& folder_or_file);

}  // namespace simsmoe::app
