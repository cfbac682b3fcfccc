#pragma once
// Training as a sequence of steps: micro-batches -> tape -> loss -> backward -> what is learned without a gradient ->
// clip -> update. All that a step depends on is the configuration, the thread count and what save() writes; so a resumed
// training has the bits of one that never stopped. Next: training_run.hpp, the loop with its folder, log and checkpoints.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/config.hpp"
#include "apps/run_checkpoint.hpp"
#include "apps/task.hpp"
#include "nn/optimizer.hpp"
#include "nn/schedule.hpp"

namespace simsmoe::app {

struct StepReport {
  // "train/loss": what the gradient is of, the sum of "train/task" and each auxiliary loss by name, weighted and summed
  // over the layers; "grad_norm" before clipping. When asked for, also what the task and the layers measured. All are of
  // the micro-batches together, and still on the device: read() copies them once.
  nn::Metrics metrics = nn::Metrics::of_no_pass();
  std::map<std::string, double> numbers;  // read, when metrics were asked for
  std::vector<std::string> auxiliary;     // names of these losses
  double lr = 0.0;
  double seconds = 0.0;
  std::int64_t tokens = 0;
};

class Trainer {
 public:
  Trainer(const Config& config, Device device);      // from freshly drawn parameters
  Trainer(RunCheckpoint checkpoint, Device device);  // goes on where the checkpoint was written
  Trainer(const Config& config, std::unique_ptr<Task> task);

  // One optimizer step. When the loss or the gradient is not finite, throws Error naming the first tensor that is not,
  // before anything is changed. On a device that is found out when numbers are read: in the next step whose metrics are
  // collected, or by save(); until then the optimizer changes nothing, and what is learned without a gradient is not saved.
  StepReport step(bool collect_metrics);

  // Throws Error naming a tensor when the result is not finite.
  Validation validate() const;
  // Remembers the result as the best one if it is, and says whether it is.
  bool improves(const Validation& validation);
  // As many validations in a row as train.patience were no better than the best before them.
  bool stops_early() const {
    return config_.train.patience > 0 && state_.without_gain >= config_.train.patience;
  }
  // Notes that this step gets a numbered checkpoint. Returns the steps of those that are too many by train.keep then,
  // which belong to it no more.
  nn::Steps keep_this_step();

  // An interrupt came before the validation and the sample of this step were in its log line: they are made again from
  // that line and from what was known `before` them.
  void put_off(const TrainingState& before, std::string line);
  // The line that was put off, empty where there is none. It is no longer put off then.
  std::string take_unfinished_line() { return std::exchange(state_.unfinished_line, {}); }

  // Throws Error naming the first parameter that is not finite, and leaves the file at `path` as it is.
  void save(const std::string& path, bool with_optimizer);

  const Config& config() const { return config_; }
  const TrainingState& state() const { return state_; }
  bool finished() const { return state_.step >= config_.train.steps || stops_early(); }
  const Task& task() const { return *task_; }

 private:
  nn::ForwardContext context(std::int64_t step, std::int64_t micro_batch, bool collect_metrics) const;
  // The loss of the micro-batch ctx.draw with its auxiliary losses; adds all of them to ctx.metrics.
  Variable loss(nn::ForwardContext& ctx) const;
  // Reads the numbers of these metrics, and in the same copy what nobody has looked at yet.
  std::map<std::string, double> check_finite(const nn::Metrics& metrics = {});
  [[noreturn]] void stop_at_non_finite(const std::string& what, std::int64_t step) const;

  struct Unread {
    std::int64_t step;
    Tensor loss, gradient_norm;
  };

  Config config_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<nn::Optimizer> optimizer_;
  nn::Schedule schedule_;
  TrainingState state_;
  std::vector<Unread> unread_;  // of steps whose numbers nobody has looked at yet
};

}  // namespace simsmoe::app
