#pragma once
// What varies from one forward pass to the next is passed along, never global: whether this is training, which step it
// is (the random draws are functions of it), and where losses, metrics and observations are collected. A pass changes
// nothing else.

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/tape.hpp"
#include "nn/metrics.hpp"
#include "nn/observations.hpp"

namespace simsmoe::nn {

// One auxiliary loss of one layer, for example {"balance", "layers.1.feed_forward", 0.01, value}.
struct LossTerm {
  std::string name;
  std::string where;
  double weight;
  Variable value;  // scalar f32 or f64, before the weight
};

class LossTerms {
 public:
  void add(std::string name, std::string where, double weight, Variable value);
  // Says that there is such a loss, which not every pass adds: it is reported all the same, as 0.
  void declare(const std::string& name) { names_.insert(name); }
  const std::vector<LossTerm>& terms() const { return terms_; }
  Variable total() const;  // sum of weight * value, recorded; undefined when there is no term
  // The names of all that was added or declared.
  const std::set<std::string>& names() const { return names_; }
  std::map<std::string, double> by_name()
      const;  // name -> sum of weight * value over the layers; reads them back
  void clear() { *this = {}; }
  // Adds under `where` each name with the sum of weight * value over the layers, as the mean over the passes.
  void report(Metrics& metrics, const std::string& where) const;

 private:
  std::vector<LossTerm> terms_;
  std::set<std::string> names_;
};

// Values that depend on parameters alone, kept from one pass to the next under the path of the layer that made them. They
// are made again when a parameter is another tensor, or was changed (Tensor::version).
class Memo {
 public:
  // What was kept, when it was made from these sources as they are now; else what make() gives. Undefined sources, as a
  // bias that there is not, stay the same.
  Variables get(const std::string& path, const Variables& sources, const std::function<Variables()>& make);
  std::size_t size() const { return kept_.size(); }

 private:
  struct Kept {
    std::vector<Tensor> sources;
    std::vector<std::uint64_t> versions;
    Variables values;
  };
  std::map<std::string, Kept> kept_;
};

struct ForwardContext {
  bool training = false;
  std::uint64_t step = 0;  // optimizer step, counted from 0
  std::uint64_t draw = 0;  // number of this micro-batch since the start of training: the `step` of Philox
  // Where the tokens of this pass begin in those of the draw: two parts of one batch never draw the same numbers.
  std::int64_t first_token = 0;
  Tensor token_ids;  // integers, one per token of the pass in flat order; undefined where there are none
  // Experts per token in place of the configured number, for layers that have experts; 0: as configured.
  std::int64_t experts_per_token = 0;
  // Of inference, where no token is dropped by default: what a token gets would depend on its company. Training has the
  // configured one.
  double capacity_factor = 0.0;
  DType compute_dtype = DType::f32;  // what Linear and experts compute in (bf16: mixed precision)
  bool recompute =
      false;  // sublayers are computed again in the backward pass instead of kept (recompute.hpp)
  bool collect_metrics = false;  // metrics cost time: only on steps that are logged
  bool compare_experts = false;  // metrics that run experts again: only now and then

  // What the pass leaves behind.
  LossTerms losses;
  Metrics metrics;
  Observations observed;  // goes on from micro-batch to micro-batch of a step
  Memo memo;              // of passes without a gradient; goes on from pass to pass

  // The same pass with nothing collected.
  ForwardContext settings() const;
};

}  // namespace simsmoe::nn
