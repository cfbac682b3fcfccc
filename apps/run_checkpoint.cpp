// See run_checkpoint.hpp.

#include "apps/run_checkpoint.hpp"

#include <charconv>
#include <cmath>

#include "apps/config_io.hpp"
#include "engine/parallel_for.hpp"

namespace simsmoe::app {

namespace {

const std::string& metadata_at(const nn::Checkpoint& checkpoint, const std::string& key,
                               const std::string& path) {
  const auto found = checkpoint.metadata.find(key);
  if (found == checkpoint.metadata.end())
    throw UserError(fmt::format("{} is not the checkpoint of a run: it has no '{}'", path, key));
  return found->second;
}

template <class T>
T number_at(const nn::Checkpoint& checkpoint, const std::string& key, const std::string& path) {
  const std::string& text = metadata_at(checkpoint, key, path);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0))
    throw UserError(fmt::format("{} has an unreadable '{}': {}", path, key, text));
  return value;
}

}  // namespace

RunCheckpoint load_run_checkpoint(const std::string& path) {
  nn::Checkpoint file = nn::load_checkpoint(path);
  RunCheckpoint checkpoint;
  read_config(checkpoint.config, metadata_at(file, "config", path), path, FormerNames::accept);
  checkpoint.config.validate();
  checkpoint.tokenizer = tokenizer_from_description(metadata_at(file, "vocabulary", path));
  checkpoint.fingerprint = metadata_at(file, "fingerprint", path);
  checkpoint.state.step = number_at<std::int64_t>(file, "step", path);
  checkpoint.state.best_bpc = number_at<double>(file, "best_valid_bpc", path);
  checkpoint.threads = std::max(1, number_at<int>(file, "threads", path));
  checkpoint.model = std::move(file.model);
  checkpoint.optimizer = std::move(file.optimizer);
  return checkpoint;
}

void save_run_checkpoint(const std::string& path, const Config& config, const Dataset& data,
                         const TrainingState& state, const nn::ParameterStore& store,
                         const nn::Optimizer* optimizer) {
  nn::save_checkpoint(path, store, optimizer,
                      {{"step", fmt::format("{}", state.step)},
                       {"seed", fmt::format("{}", config.train.seed)},
                       {"threads", fmt::format("{}", num_threads())},
                       {"config", dump_config(config)},
                       {"vocabulary", data.tokenizer->description()},
                       {"fingerprint", data.corpus.fingerprint()},
                       {"best_valid_bpc", fmt::format("{}", state.best_bpc)}});
}

}  // namespace simsmoe::app
