#pragma once
// A checkpoint is one safetensors file that stands alone: parameters and buffers under their names, the
// optimizer's state as "optim.*", what is kept of sequences as "state.*" (decoder_state.hpp), and metadata (ours: format
// and version; the caller's: step, config, ...).
// Loading is constructing:
//
//   Checkpoint checkpoint = load_checkpoint(path);
//   ParameterStore store(seed);
//   store.preload(std::move(checkpoint.model));
//   Model model(Scope(store), ...);                 // adopts; a missing tensor or another shape throws
//   check_all_claimed(store);                       // nothing may be left over; or look at store.load_report()
//   optimizer->load(checkpoint.optimizer);

#include <map>
#include <string>
#include <vector>

#include "nn/optimizer.hpp"

namespace simsmoe::nn {

inline constexpr std::string_view kCheckpointFormat = "simsmoe-checkpoint";
inline constexpr std::int64_t kCheckpointVersion = 1;
inline constexpr std::string_view kStatePrefix = "state.";

struct Checkpoint {
  std::vector<NamedTensor> model;               // parameters and buffers
  TensorFile optimizer;                         // "optim.*"; empty when saved without an optimizer
  std::vector<NamedTensor> state;               // "state.*" without the prefix; empty when saved without one
  std::map<std::string, std::string> metadata;  // what the caller gave to save_checkpoint
};

// Atomic, see write_safetensors. `optimizer` may be null: a model for inference. The metadata keys "format",
// "version" and "checksum" are reserved, and so are tensor names that begin with "optim." or "state.".
void save_checkpoint(const std::string& path, const ParameterStore& store, const Optimizer* optimizer,
                     std::map<std::string, std::string> metadata, const std::vector<NamedTensor>& state = {});

// Throws UserError with one sentence: unreadable or damaged (see read_safetensors), not a checkpoint of ours,
// or written by a newer version.
Checkpoint load_checkpoint(const std::string& path);

// After the model was built on a preloaded store: throws UserError when it did not ask for all its tensors.
void check_all_claimed(const ParameterStore& store);

}  // namespace simsmoe::nn
