// State, names and loading are shared by both families; Adam and Sgd only choose the kernel.

#include "nn/optimizer.hpp"

#include <cmath>
#include <set>

#include "ops/optimizer.hpp"

namespace simsmoe::nn {

namespace {

// What Adam and SGD share: one slot of state tensors per parameter of the store (empty for frozen ones), the
// step count, and their names in a checkpoint.
class StatefulOptimizer : public Optimizer {
 public:
  // `kinds`: "m" and "v", or "momentum"
  StatefulOptimizer(const ParameterStore& store, OptimizerOptions options, std::vector<std::string> kinds)
      : options_(std::move(options)), kinds_(std::move(kinds)) {
    for (const Parameter& parameter : store.parameters()) {
      Slot slot{parameter.variable.name(), {}};
      if (parameter.options.trainable)
        for (std::size_t i = 0; i < kinds_.size(); ++i)
          slot.state.push_back(Tensor::zeros_like(parameter.variable.value()));
      slots_.push_back(std::move(slot));
    }
  }

  void step(const ParameterStore& store, double lr, double gradient_scale) final {
    SMX_CHECK(store.parameters().size() == slots_.size(),
              "[optimizer] made for {} parameters, the store has {}", slots_.size(),
              store.parameters().size());
    ++*steps_.data<std::int64_t>();
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      const Parameter& parameter = store.parameters()[i];
      const bool moves = parameter.options.trainable && parameter.variable.grad().defined();
      if (moves) update(parameter, slots_[i].state, lr, gradient_scale);
    }
  }

  std::vector<NamedTensor> state() const final {
    std::vector<NamedTensor> tensors{{step_name(), steps_}};
    for (const Slot& slot : slots_)
      for (std::size_t i = 0; i < slot.state.size(); ++i)
        tensors.push_back({state_name(i, slot.parameter), slot.state[i]});
    return tensors;
  }

  void load(const TensorFile& file) final {
    std::set<std::string_view> left;
    for (const NamedTensor& entry : file.tensors)
      if (entry.name.starts_with(kOptimizerPrefix)) left.insert(entry.name);
    for (const NamedTensor& mine : state()) {
      const Tensor* found = file.find(mine.name);
      if (found == nullptr)
        throw UserError(fmt::format("checkpoint is of another optimizer: it lacks tensor {}", mine.name));
      if (found->shape() != mine.tensor.shape())
        throw UserError(fmt::format("checkpoint is of another model: tensor {} is {} there and {} here",
                                    mine.name, found->shape(), mine.tensor.shape()));
      mine.tensor.copy_from(found->to(mine.tensor.dtype()));
      left.erase(mine.name);
    }
    if (!left.empty())
      throw UserError(fmt::format("checkpoint is of another optimizer: {} has no place for tensor {}",
                                  name_of(options_.optimizer), *left.begin()));
  }

  std::int64_t steps() const final { return *steps_.data<std::int64_t>(); }

 protected:
  virtual void update(const Parameter& parameter, const std::vector<Tensor>& state, double lr,
                      double gradient_scale) = 0;
  double decay_of(const Parameter& parameter) const {
    return parameter.options.decay ? options_.weight_decay : 0.0;
  }

  OptimizerOptions options_;

 private:
  struct Slot {
    std::string parameter;
    std::vector<Tensor> state;  // parallel to kinds_
  };

  static std::string step_name() { return std::string(kOptimizerPrefix) + "step"; }
  std::string state_name(std::size_t kind, const std::string& parameter) const {
    return fmt::format("{}{}.{}", kOptimizerPrefix, kinds_[kind], parameter);
  }

  std::vector<std::string> kinds_;
  std::vector<Slot> slots_;  // parallel to store.parameters()
  Tensor steps_ = Tensor::zeros({}, DType::i64);
};

class Adam : public StatefulOptimizer {
 public:
  Adam(const ParameterStore& store, const OptimizerOptions& options)
      : StatefulOptimizer(store, options, {"m", "v"}) {}

 private:
  void update(const Parameter& parameter, const std::vector<Tensor>& state, double lr,
              double gradient_scale) override {
    const ops::AdamStep step{.lr = lr,
                             .beta1 = options_.beta1,
                             .beta2 = options_.beta2,
                             .eps = options_.eps,
                             .weight_decay = decay_of(parameter),
                             .coupled_decay = options_.optimizer == UpdateRule::adam,
                             .gradient_scale = gradient_scale,
                             .step = steps()};
    ops::adam_step(parameter.variable.value(), parameter.variable.grad(), state[0], state[1], step);
  }
};

class Sgd : public StatefulOptimizer {
 public:
  Sgd(const ParameterStore& store, const OptimizerOptions& options)
      : StatefulOptimizer(
            store, options,
            options.momentum > 0.0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{}) {}

 private:
  void update(const Parameter& parameter, const std::vector<Tensor>& state, double lr,
              double gradient_scale) override {
    const ops::SgdStep step{.lr = lr,
                            .momentum = options_.momentum,
                            .weight_decay = decay_of(parameter),
                            .gradient_scale = gradient_scale};
    ops::sgd_step(parameter.variable.value(), parameter.variable.grad(), state.empty() ? Tensor() : state[0],
                  step);
  }
};

}  // namespace

void OptimizerOptions::fields(FieldList& add) {
  const bool adaptive = optimizer != UpdateRule::sgd;
  add("optimizer", &optimizer, "update rule");
  add("beta1", &beta1, "decay of Adam's first moment", from_to_below(0, 1)).read_if(adaptive, "of Adam only");
  add("beta2", &beta2, "decay of Adam's second moment", from_to_below(0, 1))
      .read_if(adaptive, "of Adam only");
  add("eps", &eps, "Adam's epsilon", above(0)).read_if(adaptive, "of Adam only");
  add("momentum", &momentum, "of sgd", from_to_below(0, 1)).read_if(!adaptive, "of sgd only");
  add("weight_decay", &weight_decay, "decoupled for adamw, added to the gradient otherwise", at_least(0));
}

std::unique_ptr<Optimizer> make_optimizer(const ParameterStore& store, const OptimizerOptions& options) {
  validate("train", options);
  if (options.optimizer == UpdateRule::sgd) return std::make_unique<Sgd>(store, options);
  return std::make_unique<Adam>(store, options);
}

double global_gradient_norm(const ParameterStore& store) {
  double sum = 0.0;
  for (const Parameter& parameter : store.parameters())
    if (parameter.variable.grad().defined()) sum += ops::squared_norm(parameter.variable.grad());
  return std::sqrt(sum);
}

double clip_scale(double norm, double max_norm) {
  SMX_CHECK(max_norm >= 0.0, "[clip] expected a largest norm >= 0, got {}", max_norm);
  return max_norm > 0.0 && norm > max_norm ? max_norm / norm : 1.0;
}

}  // namespace simsmoe::nn
