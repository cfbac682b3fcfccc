#pragma once
// The checkpoint of a run: the tensors of nn/checkpoint.hpp and, as metadata, all that is needed to go on
// without any other file: step, seed, thread count, configuration, vocabulary, best validation so far and how many came
// after it, numbered checkpoints, and what an interrupt put off.

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "apps/config.hpp"
#include "nn/checkpoint.hpp"

namespace simsmoe::app {

// How far a training has come.
struct TrainingState {
  std::int64_t step = 0;                                        // optimizer steps done
  double best_score = std::numeric_limits<double>::infinity();  // of the validations so far
  std::int64_t without_gain = 0;                                // validations since the best one
  nn::Steps kept = {};                                          // of its numbered checkpoints, ascending
  // The log line of the step, a JSON object, when an interrupt came before its validation and sample were in it.
  std::string unfinished_line = {};
};

struct RunCheckpoint {
  std::string path;
  Config config;
  std::map<std::string, std::string> metadata;  // with what the task keeps there
  TrainingState state;
  int threads = 1;  // the run's bits are a function of this
  std::vector<NamedTensor> model;
  TensorFile optimizer;  // empty in best.safetensors

  const std::string& metadata_at(const std::string& key) const;  // throws UserError where it is missing
};

// Throws UserError with one sentence when the file is missing, damaged, of another program or too new.
RunCheckpoint load_run_checkpoint(const std::string& path);

// `metadata`: what the task keeps there. `optimizer` may be null: for inference only. Atomic.
void save_run_checkpoint(const std::string& path, const Config& config,
                         std::map<std::string, std::string> metadata, const TrainingState& state,
                         const nn::ParameterStore& store, const nn::Optimizer* optimizer);

}  // namespace simsmoe::app
