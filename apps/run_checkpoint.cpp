// The metadata of a run.

#include "apps/run_checkpoint.hpp"

#include <charconv>
#include <sstream>
#include <type_traits>

#include <nlohmann/json.hpp>

#include "apps/config_io.hpp"
#include "engine/parallel_for.hpp"

namespace simsmoe::app {

namespace {

template <class T>
T number_at(const RunCheckpoint& checkpoint, const std::string& key) {
  const std::string& text = checkpoint.metadata_at(key);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool possible = std::is_integral_v<T> ? value >= 0 : value == value;  // a score may be below 0
  if (error != std::errc{} || end != text.data() + text.size() || !possible)
    throw UserError(fmt::format("{} has an unreadable '{}': {}", checkpoint.path, key, text));
  return value;
}

constexpr const char *kBestScore = "best_score", *kFormerBestScore = "best_valid_bpc";
// What checkpoints of older programs lack.
constexpr const char *kWithoutGain = "validations_without_gain", *kKept = "kept_steps",
                     *kUnfinishedLine = "unfinished_line";

std::string json_object_at(const RunCheckpoint& checkpoint, const std::string& key) {
  const std::string& text = checkpoint.metadata_at(key);
  if (!nlohmann::json::parse(text, nullptr, false).is_object())
    throw UserError(fmt::format("{} has an unreadable '{}': {}", checkpoint.path, key, text));
  return text;
}

}  // namespace

const std::string& RunCheckpoint::metadata_at(const std::string& key) const {
  const auto found = metadata.find(key);
  if (found == metadata.end())
    throw UserError(fmt::format("{} is not the checkpoint of a run: it has no '{}'", path, key));
  return found->second;
}

RunCheckpoint load_run_checkpoint(const std::string& path) {
  nn::Checkpoint file = nn::load_checkpoint(path);
  RunCheckpoint checkpoint;
  checkpoint.path = path;
  checkpoint.metadata = std::move(file.metadata);
  read_config(checkpoint.config, checkpoint.metadata_at("config"), path, FormerNames::accept);
  checkpoint.config.validate();
  checkpoint.state.step = number_at<std::int64_t>(checkpoint, "step");
  checkpoint.state.best_score = number_at<double>(
      checkpoint, checkpoint.metadata.contains(kFormerBestScore) ? kFormerBestScore : kBestScore);
  if (checkpoint.metadata.contains(kWithoutGain))
    checkpoint.state.without_gain = number_at<std::int64_t>(checkpoint, kWithoutGain);
  std::istringstream kept(checkpoint.metadata[kKept]);
  for (std::int64_t step = 0; kept >> step; kept.ignore()) checkpoint.state.kept.push_back(step);
  if (!checkpoint.metadata[kUnfinishedLine].empty())
    checkpoint.state.unfinished_line = json_object_at(checkpoint, kUnfinishedLine);
  checkpoint.threads = std::max(1, number_at<int>(checkpoint, "threads"));
  checkpoint.model = std::move(file.model);
  checkpoint.optimizer = std::move(file.optimizer);
  return checkpoint;
}

void save_run_checkpoint(const std::string& path, const Config& config,
                         std::map<std::string, std::string> metadata, const TrainingState& state,
                         const nn::ParameterStore& store, const nn::Optimizer* optimizer) {
  metadata.insert({{"step", fmt::format("{}", state.step)},
                   {"seed", fmt::format("{}", config.train.seed)},
                   {"threads", fmt::format("{}", num_threads())},
                   {"config", dump_config(config)},
                   {kWithoutGain, fmt::format("{}", state.without_gain)},
                   {kKept, fmt::format("{}", fmt::join(state.kept, ","))},
                   {kUnfinishedLine, state.unfinished_line},
                   {kBestScore, fmt::format("{}", state.best_score)}});
  nn::save_checkpoint(path, store, optimizer, std::move(metadata));
}

}  // namespace simsmoe::app
