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

  // Of the training that the lines tell of, those of earlier sessions included, without validations.
  double training_seconds() const { return training_seconds_; }

 private:
  void count(const nlohmann::ordered_json& line);

  std::string path_;
  int file_;
  double tokens_ = 0.0, training_seconds_ = 0.0;  // of the last line that has them
};

}  // namespace simsmoe::app
