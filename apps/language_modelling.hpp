#pragma once
// The task that the papers pre-train on: predicting the next token of a text.

#include <memory>
#include <string>
#include <vector>

#include "apps/data/batches.hpp"
#include "apps/dataset.hpp"
#include "apps/evaluation.hpp"
#include "apps/model_factory.hpp"
#include "apps/task.hpp"

namespace simsmoe::app {

class LanguageModelling : public Task {
 public:
  // `tokenizer` and `tensors` of a checkpoint; null and empty: made from the text, freshly drawn.
  LanguageModelling(const Config& config, Device device, std::unique_ptr<Tokenizer> tokenizer = nullptr,
                    std::vector<NamedTensor> tensors = {});

  const nn::ParameterStore& store() const override { return model_.store; }
  nn::Account account() const override { return model_.decoder->account(); }
  std::int64_t tokens_per_batch() const override { return config_.train.batch * config_.train.seq; }

  Variable loss(std::uint64_t number, nn::ForwardContext& ctx) const override;
  Validation validate() const override;  // on train.eval_batches batches of the validation text
  std::string sample() const override;   // a text that depends on the parameters and train.seed alone

  std::string score_name() const override { return "bpb"; }
  std::string headline() const override;
  // On all of the validation text, beside what compressors make of it, or on as much as train.final_share allows.
  Ending ending(const Pace& pace) const override;
  nlohmann::ordered_json about_data() const override;
  std::map<std::string, std::string> metadata() const override;

  const Dataset& data() const { return data_; }

 private:
  Evaluation evaluated(const EvaluationBatches& batches, const Watch& watch) const;

  Config config_;
  Dataset data_;
  std::string fingerprint_;  // of the text as it was at the beginning
  std::string sample_prompt_;
  TrainingBatches batches_;
  EvaluationBatches validation_;
  Model model_;
};

// The vocabulary that a checkpoint was written with.
std::unique_ptr<Tokenizer> tokenizer_of(const RunCheckpoint& checkpoint);

}  // namespace simsmoe::app
