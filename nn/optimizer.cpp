// State, names and loading are shared by both families; Adam and Sgd only fill in what the kernel is told.

#include "nn/optimizer.hpp"

#include <cmath>
#include <set>

#include "ops/binary.hpp"
#include "ops/optimizer.hpp"
#include "ops/unary.hpp"

namespace simsmoe::nn {

namespace {

// What Adam and SGD share: one slot of state tensors per parameter of the store (empty for frozen ones), the
// step count, and their names in a checkpoint. Adam also counts the updates of each parameter.
class StatefulOptimizer : public Optimizer {
 public:
  // `kinds`: "m" and "v", or "momentum"
  StatefulOptimizer(const ParameterStore& store, OptimizerOptions options, std::vector<std::string> kinds,
                    bool counts_updates)
      : options_(options), kinds_(std::move(kinds)) {
    for (const Parameter& parameter : store.parameters()) {
      Slot slot{parameter.variable.name(), {}, {}};
      if (parameter.options.trainable) {
        for (std::size_t i = 0; i < kinds_.size(); ++i)
          slot.state.push_back(Tensor::zeros_like(parameter.variable.value()));
        if (counts_updates) slot.updates = Tensor::zeros({}, DType::i64);
      }
      slots_.push_back(std::move(slot));
    }
  }

  void step(const ParameterStore& store, double lr, const Tensor& gradient_scale) final {
    SMX_CHECK(store.parameters().size() == slots_.size(),
              "[optimizer] made for {} parameters, the store has {}", slots_.size(),
              store.parameters().size());
    ++steps_.host<std::int64_t>().front();
    // No update, so nothing that counts one. On another device a look would stall it.
    if (gradient_scale.defined() && gradient_scale.device().is_cpu() && !all_finite(gradient_scale)) return;
    std::vector<Update> updates;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      const Parameter& parameter = store.parameters()[i];
      if (!parameter.options.trainable || !parameter.variable.grad().defined()) continue;
      const Slot& slot = slots_[i];
      updates.push_back({parameter.variable.value(), parameter.variable.grad(), slot.state,
                         parameter.options.decay ? options_.weight_decay : 0.0,
                         slot.updates.defined() ? ++slot.updates.host<std::int64_t>().front() : 0});
    }
    update(updates, lr, gradient_scale);
  }

  std::vector<NamedTensor> state() const final {
    std::vector<NamedTensor> tensors{{step_name(), steps_}};
    for (const Slot& slot : slots_) {
      for (std::size_t i = 0; i < slot.state.size(); ++i)
        tensors.push_back({state_name(kinds_[i], slot.parameter), slot.state[i]});
      if (slot.updates.defined()) tensors.push_back({state_name("updates", slot.parameter), slot.updates});
    }
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
  // A parameter that has a gradient.
  struct Update {
    Tensor parameter, gradient;
    const std::vector<Tensor>& state;
    double weight_decay;
    std::int64_t count;  // of this one, where they are counted
  };
  virtual void update(const std::vector<Update>& updates, double lr, const Tensor& gradient_scale) = 0;

  OptimizerOptions options_;

 private:
  struct Slot {
    std::string parameter;
    std::vector<Tensor> state;  // parallel to kinds_
    Tensor updates;             // i64 [] on the host, where they are counted
  };

  static std::string step_name() { return std::string(kOptimizerPrefix) + "step"; }
  static std::string state_name(std::string_view kind, const std::string& parameter) {
    return fmt::format("{}{}.{}", kOptimizerPrefix, kind, parameter);
  }

  std::vector<std::string> kinds_;
  std::vector<Slot> slots_;  // parallel to store.parameters()
  Tensor steps_ = Tensor::zeros({}, DType::i64);
};

class Adam : public StatefulOptimizer {
 public:
  Adam(const ParameterStore& store, const OptimizerOptions& options)
      : StatefulOptimizer(store, options, {"m", "v"}, true) {}

 private:
  void update(const std::vector<Update>& updates, double lr, const Tensor& gradient_scale) override {
    std::vector<ops::AdamSlot> slots;
    slots.reserve(updates.size());
    for (const Update& u : updates)
      slots.push_back({u.parameter, u.gradient, u.state[0], u.state[1], u.weight_decay, u.count});
    ops::adam_step(slots,
                   {.lr = lr,
                    .beta1 = options_.beta1,
                    .beta2 = options_.beta2,
                    .eps = options_.eps,
                    .coupled_decay = options_.optimizer == UpdateRule::adam},
                   gradient_scale);
  }
};

class Sgd : public StatefulOptimizer {
 public:
  Sgd(const ParameterStore& store, const OptimizerOptions& options)
      : StatefulOptimizer(
            store, options,
            options.momentum > 0.0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{},
            false) {}

 private:
  void update(const std::vector<Update>& updates, double lr, const Tensor& gradient_scale) override {
    std::vector<ops::SgdSlot> slots;
    slots.reserve(updates.size());
    for (const Update& u : updates)
      slots.push_back({u.parameter, u.gradient, u.state.empty() ? Tensor() : u.state[0], u.weight_decay});
    ops::sgd_step(slots, {.lr = lr, .momentum = options_.momentum}, gradient_scale);
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

Tensor global_gradient_norm(const ParameterStore& store) {
  std::vector<Tensor> gradients;
  for (const Parameter& parameter : store.parameters())
    if (parameter.variable.grad().defined()) gradients.push_back(parameter.variable.grad());
  return ops::global_norm(gradients).to(store.device());
}

Tensor clip_scale(const Tensor& norm, double max_norm) {
  SMX_CHECK(max_norm >= 0.0, "[clip] expected a largest norm >= 0, got {}", max_norm);
  const Variable n(norm), nothing = ops::scale(n, 0.0);  // NaN where the norm is not finite
  if (max_norm == 0.0) return ops::scale(nothing, 1.0, 1.0).value();
  const Variable most(Tensor::full({}, max_norm, DType::f64, norm.device()));
  return ops::add(ops::minimum(ops::div(most, n), 1.0), nothing).value();
}

}  // namespace simsmoe::nn
