#pragma once
// A training in its run folder: logs, validations, samples, checkpoints, ctrl-C.

#include <cstdint>

#include <nlohmann/json.hpp>

#include "apps/metrics_log.hpp"
#include "apps/run_folder.hpp"
#include "apps/starvation.hpp"
#include "apps/trainer.hpp"
#include "engine/progress.hpp"

namespace simsmoe::app {

class TrainingRun {
 public:
  // Writes config.toml, manifest.json and, for a new run, its first checkpoint.
  TrainingRun(Trainer& trainer, RunFolder folder);

  // Trains until train.steps are done or train.patience is over (true), or an interrupt was asked for (false); either way
  // the last checkpoint holds the state that was reached. An interrupt puts off the validation and the sample of its step:
  // a resumed run begins with them. When something is not finite, throws Error naming it and the last good checkpoint,
  // which stays as it is.
  bool run();

  // Does what an interrupt put off, as run() does first; returns whether an interrupt was asked for.
  bool finish_step();

  // The final validation of a finished training: writes result.json and returns the lines for people. Throws Interrupted
  // when it was asked to end; the last checkpoint, from which the run goes on to it, is written already.
  std::string finish();

 private:
  using Json = nlohmann::ordered_json;

  bool step();  // and what is due after it; returns whether an interrupt was asked for
  // The same of a step whose log line is so far `line`.
  bool after_step(Json line);
  template <class F>
  bool with_last_good(const F& work) const;  // named by the errors of the work
  std::string last_good() const;             // what an error that ends the run says at its end
  Json training_line(const StepReport& report);
  void add_training(Json& line, const StepReport& report);
  void add_validation(Json& line);
  void add_sample(Json& line);
  void save_numbered();
  bool due(std::int64_t step, std::int64_t every) const;

  Trainer& trainer_;
  RunFolder folder_;
  MetricsLog metrics_;
  Progress progress_;
  StarvationWatch starvation_;
  double seconds_ = 0.0;  // of training since the last log line
  std::int64_t tokens_ = 0;
  double loss_ = 0.0;                // of the last log line
  double validation_seconds_ = 0.0;  // of the last validation; 0: there was none
};

}  // namespace simsmoe::app
