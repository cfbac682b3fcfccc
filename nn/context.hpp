#pragma once
// What varies from one forward pass to the next is passed along, never global: whether this is training,
// which step it is (the random draws are functions of it), and where auxiliary losses and metrics are
// collected.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/tape.hpp"

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
  const std::vector<LossTerm>& terms() const { return terms_; }
  Variable total() const;  // sum of weight * value, recorded; undefined when there is no term
  std::map<std::string, double> by_name() const;  // name -> sum of weight * value over the layers
  void clear() { terms_.clear(); }

 private:
  std::vector<LossTerm> terms_;
};

// Numbers that a layer wants logged, as {"layers.1.feed_forward/load_max", 0.31}. Not differentiable.
using Metrics = std::map<std::string, double>;

struct ForwardContext {
  bool training = false;
  std::uint64_t step = 0;  // optimizer step, counted from 0
  std::uint64_t draw = 0;  // number of this micro-batch since the start of training: the `step` of Philox
  Tensor token_ids;  // integers, one per token of the pass in flat order; undefined where there are none
  // Experts per token in place of the configured number, for layers that have experts; 0: as configured.
  std::int64_t experts_per_token = 0;
  DType compute_dtype = DType::f32;  // what Linear and experts compute in (bf16: mixed precision)
  bool collect_metrics = false;      // metrics cost time: only on steps that are logged
  bool compare_experts = false;      // metrics that run experts again: only now and then
  LossTerms losses;
  Metrics metrics;
};

}  // namespace simsmoe::nn
