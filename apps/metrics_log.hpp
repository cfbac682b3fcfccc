#pragma once
// metrics.jsonl: one JSON object per line, each with a "step". README.md lists the keys.

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace simsmoe::app {

class MetricsLog {
 public:
  // Opens or creates the file and drops the lines behind `step`, and a line that a crash cut off: a resumed
  // run writes them again.
  MetricsLog(std::string path, std::int64_t step);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  // Writes the whole line or, when the disk is full, none of it and throws UserError. Numbers that are not
  // finite become null, bytes that are not UTF-8 the replacement character.
  void append(const nlohmann::ordered_json& line);

 private:
  std::string path_;
  int file_;
};

}  // namespace simsmoe::app
