#pragma once
// What a model is trained for: its batches, their loss, and how well it goes. A task owns the model and the data; the
// trainer knows steps, micro-batches, gradients and checkpoints, and nothing of text. Next: language_modelling.hpp.

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "apps/config.hpp"
#include "apps/run_checkpoint.hpp"
#include "nn/context.hpp"
#include "nn/layers.hpp"

namespace simsmoe::app {

struct Validation {
  double score;         // the best checkpoint has the smallest; not finite where something went wrong
  nn::Metrics metrics;  // for the log, "valid/..." and what the layers measured
  std::string summary;  // for people, in a few words
};

// What was measured of a training when it ends.
struct Pace {
  double training_seconds;    // of all its steps
  double validation_seconds;  // of one validate(); 0: not known
};

// The end of a training.
struct Ending {
  std::string lines;               // for people
  nlohmann::ordered_json figures;  // an object, with the names of the log
};

class Task {
 public:
  virtual ~Task() = default;

  virtual const nn::ParameterStore& store() const = 0;
  virtual nn::Account account() const = 0;
  virtual std::int64_t tokens_per_batch() const = 0;

  // The mean loss of micro-batch `number` of the training, without the auxiliary losses, which are in ctx.losses: [].
  // A function of the number, the parameters and the context. When metrics are collected it adds "train/..." of its own.
  virtual Variable loss(std::uint64_t number, nn::ForwardContext& ctx) const = 0;
  // Both throw Interrupted when they are asked to end.
  virtual Validation validate() const = 0;
  virtual std::string sample() const = 0;  // what the model makes, to be looked at; empty: nothing

  virtual std::string score_name() const = 0;  // of "train/NAME" and "valid/NAME"
  virtual std::string headline() const = 0;    // the line that a run begins with
  // The final validation; throws Interrupted when it is asked to end.
  virtual Ending ending(const Pace& pace) const = 0;
  virtual nlohmann::ordered_json about_data() const = 0;  // for the manifest
  virtual std::map<std::string, std::string> metadata()
      const = 0;  // what a checkpoint needs beside the model
};

// The task of a configuration, with a freshly drawn model or that of the checkpoint train.init, with its vocabulary; or as
// a checkpoint left it, whose model is taken out of it.
// Throws UserError when data or model do not fit.
std::unique_ptr<Task> make_task(const Config& config, Device device);
std::unique_ptr<Task> make_task(RunCheckpoint& checkpoint, Device device);

}  // namespace simsmoe::app
