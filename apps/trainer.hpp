#pragma once
// Training as a sequence of steps: batch -> tape -> loss -> backward -> clip -> update. All that a step
// depends on is the configuration, the thread count and what save() writes; so a resumed training has the
// bits of one that never stopped. Next: training_run.hpp, the loop with its folder, log and checkpoints.

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "apps/config.hpp"
#include "apps/data/batches.hpp"
#include "apps/dataset.hpp"
#include "apps/evaluation.hpp"
#include "apps/model_factory.hpp"
#include "apps/run_checkpoint.hpp"
#include "nn/context.hpp"

namespace simsmoe::app {

struct StepReport {
  double task = 0.0;                        // mean next-token loss in nats
  std::map<std::string, double> auxiliary;  // "balance", "z": weighted, summed over the layers
  double total = 0.0;                       // what the gradient is of
  double lr = 0.0;
  double gradient_norm = 0.0;  // before clipping
  double seconds = 0.0;
  std::int64_t tokens = 0;
  // Of the layers, when asked for: the parts of the losses as means over the micro-batches, all else of the last one.
  nn::Metrics metrics;
};

class Trainer {
 public:
  Trainer(const Config& config, Device device);      // from freshly drawn parameters
  Trainer(RunCheckpoint checkpoint, Device device);  // goes on where the checkpoint was written

  // One optimizer step. When the loss or the gradient is not finite, throws Error naming the first tensor
  // that is not, before anything is changed.
  StepReport step(bool collect_metrics);

  // On train.eval_batches batches of the validation text, and on all of it, which is what a compressor sees.
  // Throw Error naming a tensor when the result is not finite.
  Evaluation validate() const;
  Evaluation validate_all() const;
  // Remembers the result as the best one if it is, and says whether it is.
  bool improves(const Evaluation& evaluation);
  std::string sample();  // a text that depends on the parameters and train.seed alone

  // Throws Error naming the first parameter that is not finite, and leaves the file at `path` as it is.
  void save(const std::string& path, bool with_optimizer) const;

  const Config& config() const { return config_; }
  const TrainingState& state() const { return state_; }
  bool finished() const { return state_.step >= config_.train.steps; }
  const Dataset& data() const { return data_; }
  const Model& model() const { return model_; }
  const EvaluationBatches& validation() const { return validation_; }

 private:
  Trainer(const Config& config, Device device, std::unique_ptr<Tokenizer> tokenizer,
          std::vector<NamedTensor> tensors);
  nn::ForwardContext context(std::int64_t micro_batch, bool collect_metrics) const;
  Batch batch(std::int64_t micro_batch) const;
  Variable loss(std::int64_t micro_batch, nn::ForwardContext& ctx, StepReport& report) const;
  Evaluation validate_on(const EvaluationBatches& batches) const;
  [[noreturn]] void stop_at_non_finite(const std::string& what, std::int64_t step) const;

  Config config_;
  Dataset data_;
  std::string sample_prompt_;
  TrainingBatches batches_;
  EvaluationBatches validation_;
  Model model_;
  std::unique_ptr<nn::Optimizer> optimizer_;
  nn::Schedule schedule_;
  TrainingState state_;
};

}  // namespace simsmoe::app
