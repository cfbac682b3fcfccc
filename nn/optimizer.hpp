#pragma once
// Optimizers over the trainable parameters of a store. State tensors have names, so that a checkpoint holds
// them: "optim.step" (i64 []), "optim.m.<parameter>", "optim.v.<parameter>" and "optim.updates.<parameter>" (i64 [], Adam),
// "optim.momentum.<...>" (SGD). There is no other state.

#include <memory>
#include <string>
#include <vector>

#include "nn/fields.hpp"
#include "nn/scope.hpp"

namespace simsmoe::nn {

inline constexpr std::string_view kOptimizerPrefix = "optim.";

enum class UpdateRule : unsigned char { adamw, adam, sgd };
constexpr auto enum_names(UpdateRule) { return std::to_array<std::string_view>({"adamw", "adam", "sgd"}); }

struct OptimizerOptions {
  UpdateRule optimizer = UpdateRule::adamw;
  double beta1 = 0.9, beta2 = 0.99, eps = 1e-8;
  double momentum = 0.9;       // sgd
  double weight_decay = 0.01;  // adamw: decoupled; adam and sgd: added to the gradient

  void fields(FieldList& add);
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // One update with learning rate lr; gradients are multiplied by gradient_scale first: f64 [] on the device of the store,
  // undefined for 1. Where it is not finite, no parameter changes, nor (on the CPU) any count of updates. A trainable
  // parameter without a gradient (an expert that no token chose still gets zeros from grouped_matmul) is left as it is, and
  // its bias correction waits with it: t of Adam (Kingma and Ba 2015, algorithm 1) counts the updates of a parameter, as in
  // PyTorch.
  virtual void step(const ParameterStore& store, double lr, const Tensor& gradient_scale = {}) = 0;
  virtual std::vector<NamedTensor> state() const = 0;  // shares memory with the optimizer
  virtual void load(const TensorFile& file) = 0;       // copies "optim.*"; UserError when they are others
  virtual std::int64_t steps() const = 0;
};

// Throws UserError on values out of range.
std::unique_ptr<Optimizer> make_optimizer(const ParameterStore& store, const OptimizerOptions& options);

// sqrt of the sum of squares of all gradients: f64 [] on the device of the store.
Tensor global_gradient_norm(const ParameterStore& store);
// The factor that brings a norm down to max_norm: 1 where norm <= max_norm or max_norm == 0. Not finite where the norm is
// not, so that nothing is updated. norm: f64 [] -> f64 []
Tensor clip_scale(const Tensor& norm, double max_norm);

}  // namespace simsmoe::nn
