#pragma once
// What the tests of the app share: a folder that goes away, a text that can be learnt, a tiny configuration.

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "apps/config.hpp"
#include "engine/check.hpp"

namespace simsmoe::app {

struct TemporaryFolder {
  std::filesystem::path path;
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "simsmoe-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw Error("cannot make a temporary folder");
    path = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(const std::string& name) const { return (path / name).string(); }
  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(path / name, std::ios::binary) << text;
    return *this / name;
  }
};

// 40 sentences of the same words in changing order: 4 kB.
inline std::string small_text() {
  const char* words[] = {"the", "lazy", "dog", "saw", "a", "quick", "brown", "fox", "and", "jumped", "over"};
  std::string text;
  for (std::size_t i = 0; i < 40; ++i) {
    for (std::size_t j = 0; j < 20; ++j) text += std::string(words[(i * i + j * (i + 3)) % 11]) + " ";
    text += "\n";
  }
  return text;
}

// Two layers with experts; a step takes about a millisecond. `text` is the file to learn.
inline Config tiny_config(const std::string& text) {
  Config config;
  config.data.path = text;
  config.data.valid_fraction = 0.1;
  config.model.dim = 16;
  config.model.attention.heads = 2;
  config.model.layers = 2;
  config.model.dropout = 0.1;
  config.moe.experts = 4;
  config.moe.hidden = 16;
  config.moe.z_weight = 0.001;
  config.train.steps = 40;
  config.train.batch = 4;
  config.train.seq = 16;
  config.train.warmup = 4;
  config.train.log_every = 1;
  config.train.eval_every = 10;
  config.train.save_every = 10;
  config.train.sample_every = 0;
  config.train.sample_tokens = 20;
  return config;
}

}  // namespace simsmoe::app
