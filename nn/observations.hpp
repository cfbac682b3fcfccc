#pragma once
// What the passes of a training step saw, for those that learn from it without a gradient: a selection bias from the
// load, a counter of pairs that met, a stage of the training. A pass changes nothing but its context: it notes what it
// saw, and whoever owns the step has it applied, once. So a pass that is run again (recomputation, the search for a
// number that is not finite, a probe) gives the same bits. All that is noted goes through this one place.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.hpp"

namespace simsmoe::nn {

// What learns keeps what it knows in buffers of its scope: they are in the checkpoint, and end_step() is const.
class Learner {
 public:
  virtual ~Learner() = default;
  // Changes the buffers by what the passes of optimizer step `step` noted, in their order.
  virtual void end_step(std::span<const Tensor> seen, std::uint64_t step) const = 0;
};

class Observations {
 public:
  // Notes what a pass saw. `seen` may be undefined: that there was a pass is all. Learners of one `group` (the layers of
  // a model) learn from all that is noted under it; without one each learns from its own.
  void note(const Learner& learner, Tensor seen, const std::string& group = {});

  // What the passes of this step have noted for the learner, in order: the earlier micro-batches of a learner that goes
  // on from pass to pass.
  std::span<const Tensor> noted(const Learner& learner) const;

  // Lets every learner learn once, in the order of their first notes, and forgets the notes. The owner of the step calls
  // it after the last backward pass and before the optimizer.
  void end_step(std::uint64_t step);

 private:
  struct Entry {
    const Learner* learner;
    std::string key;
  };
  std::vector<Entry> learners_;
  std::map<std::string, std::vector<Tensor>> notes_;  // by group, or by the learner's place in memory
};

// The sum of what was noted; all of one shape, float. Throws when there is nothing.
Tensor sum_of(std::span<const Tensor> seen);

}  // namespace simsmoe::nn
