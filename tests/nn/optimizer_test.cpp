// Optimizers against the formulas written out, their state, clipping.

#include "nn/optimizer.hpp"

#include <cmath>

#include "nn/init.hpp"
#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

using testing::max_difference;
using testing::normal;
using testing::same_bits;

namespace {

constexpr std::int64_t kSize = 7;

// Two parameters, of which only the first decays, and a frozen one.
struct Fixture {
  explicit Fixture(const OptimizerOptions& options) : optimizer(make_optimizer(store, options)) {}

  void set_gradients(int step) {
    weight.set_grad(normal({kSize}, fmt::format("dweight {}", step)));
    bias.set_grad(normal({kSize}, fmt::format("dbias {}", step)));
  }

  ParameterStore store{5, DType::f64};
  Variable weight = Scope(store).parameter("weight", {kSize}, init::normal(1.0));
  Variable bias = Scope(store).parameter("bias", {kSize}, init::normal(1.0), {.decay = false});
  Variable frozen = Scope(store).parameter("frozen", {kSize}, init::normal(1.0), {.trainable = false});
  std::unique_ptr<Optimizer> optimizer;
};

// One scalar parameter as the papers write it.
struct Reference {
  double p, m = 0.0, v = 0.0;

  void adam(double g, double lr, double decay, bool decoupled, int t) {
    if (!decoupled) g += decay * p;
    m = 0.9 * m + 0.1 * g;
    v = 0.95 * v + 0.05 * g * g;
    const double mean = m / (1.0 - std::pow(0.9, t)), square = v / (1.0 - std::pow(0.95, t));
    if (decoupled) p -= lr * decay * p;
    p -= lr * mean / (std::sqrt(square) + 1e-8);
  }
  void sgd(double g, double lr, double decay, double momentum) {
    m = momentum * m + g + decay * p;
    p -= lr * m;
  }
};

template <class Update>
void compare(const OptimizerOptions& options, const Update& update) {
  Fixture f(options);
  const Tensor frozen = f.frozen.value().clone();
  std::vector<Reference> weight, bias;
  for (const double p : f.weight.value().to_vector<double>()) weight.push_back({p});
  for (const double p : f.bias.value().to_vector<double>()) bias.push_back({p});
  for (int step = 1; step <= 5; ++step) {
    const double lr = 0.1 / step, scale = step == 3 ? 0.5 : 1.0;
    f.set_gradients(step);
    f.optimizer->step(f.store, lr, Tensor::scalar(scale));
    for (std::size_t i = 0; i < kSize; ++i) {
      update(weight[i], scale * f.weight.grad().to_vector<double>()[i], lr, options.weight_decay, step);
      update(bias[i], scale * f.bias.grad().to_vector<double>()[i], lr, 0.0, step);
      CHECK(f.weight.value().to_vector<double>()[i] == doctest::Approx(weight[i].p).epsilon(1e-12));
      CHECK(f.bias.value().to_vector<double>()[i] == doctest::Approx(bias[i].p).epsilon(1e-12));
    }
  }
  CHECK(f.optimizer->steps() == 5);
  CHECK(same_bits(frozen, f.frozen.value()));
}

}  // namespace

TEST_CASE("adamw decays beside the gradient, adam through it") {
  OptimizerOptions options{.beta1 = 0.9, .beta2 = 0.95, .weight_decay = 0.1};
  compare(options,
          [](Reference& r, double g, double lr, double decay, int t) { r.adam(g, lr, decay, true, t); });
  options.optimizer = UpdateRule::adam;
  compare(options,
          [](Reference& r, double g, double lr, double decay, int t) { r.adam(g, lr, decay, false, t); });
}

TEST_CASE("sgd with and without momentum") {
  for (const double momentum : {0.0, 0.9}) {
    const OptimizerOptions options{.optimizer = UpdateRule::sgd, .momentum = momentum, .weight_decay = 0.1};
    compare(options,
            [&](Reference& r, double g, double lr, double decay, int) { r.sgd(g, lr, decay, momentum); });
  }
}

TEST_CASE("a parameter without a gradient stays as it is") {
  Fixture f({});
  f.set_gradients(1);
  f.bias.clear_grad();
  const Tensor bias = f.bias.value().clone(), weight = f.weight.value().clone();
  f.optimizer->step(f.store, 0.1);
  CHECK(same_bits(bias, f.bias.value()));
  CHECK_FALSE(same_bits(weight, f.weight.value()));
}

TEST_CASE(
    "adam: a step that changed nothing, for its gradients were not finite, does not count as an update") {
  Fixture skips({}), never({});
  const auto step = [](Fixture& f, int gradient, double scale) {
    f.set_gradients(gradient);
    f.optimizer->step(f.store, 0.1, Tensor::scalar(scale));
  };
  step(skips, 1, 1.0);
  step(never, 1, 1.0);
  for (const double scale : {std::nan(""), HUGE_VAL, -HUGE_VAL}) step(skips, 2, scale);
  step(skips, 3, 0.5);
  step(never, 3, 0.5);
  CHECK(same_bits(skips.weight.value(), never.weight.value()));
  CHECK(same_bits(skips.bias.value(), never.bias.value()));
  CHECK(skips.optimizer->steps() == 5);
}

TEST_CASE("adam: a gradient now and then moves a parameter by lr, as one in every step does") {
  for (const UpdateRule rule : {UpdateRule::adam, UpdateRule::adamw}) {
    Fixture f({.optimizer = rule, .weight_decay = 0.0});
    for (int step = 1; step <= 160; ++step) {
      f.store.clear_grads();
      f.weight.set_grad(Tensor::full({kSize}, 3.0, DType::f64));
      if (step % 16 == 0) f.bias.set_grad(Tensor::full({kSize}, -3.0, DType::f64));
      const Tensor bias = f.bias.value().clone();
      f.optimizer->step(f.store, 0.1);
      CHECK(max_difference(bias, f.bias.value()) ==
            doctest::Approx(step % 16 == 0 ? 0.1 : 0.0).epsilon(1e-6));
    }
    TensorFile state;
    state.tensors = f.optimizer->state();
    CHECK(state.at("optim.step").item() == 160);
    CHECK(state.at("optim.updates.weight").item() == 160);
    CHECK(state.at("optim.updates.bias").item() == 10);
  }
}

TEST_CASE("state has names, and loading it continues bit for bit") {
  Fixture a({}), b({});
  for (int step = 1; step <= 3; ++step) {
    a.set_gradients(step);
    a.optimizer->step(a.store, 0.1);
  }
  TensorFile file;
  for (const NamedTensor& state : a.optimizer->state())
    file.tensors.push_back({state.name, state.tensor.clone()});
  std::vector<std::string> names;
  for (const NamedTensor& state : file.tensors) names.push_back(state.name);
  CHECK(names == std::vector<std::string>{"optim.step", "optim.m.weight", "optim.v.weight",
                                          "optim.updates.weight", "optim.m.bias", "optim.v.bias",
                                          "optim.updates.bias"});
  b.weight.set_value(a.weight.value().clone());
  b.bias.set_value(a.bias.value().clone());
  b.optimizer->load(file);
  CHECK(b.optimizer->steps() == 3);
  for (Fixture* f : {&a, &b}) {
    f->set_gradients(4);
    f->optimizer->step(f->store, 0.1);
  }
  CHECK(same_bits(a.weight.value(), b.weight.value()));
  CHECK(same_bits(a.bias.value(), b.bias.value()));
}

TEST_CASE("state of another optimizer or model is refused") {
  Fixture adam({}), sgd({.optimizer = UpdateRule::sgd});
  CHECK_THROWS_WITH_AS(adam.optimizer->load({sgd.optimizer->state(), {}}),
                       "checkpoint is of another optimizer: it lacks tensor optim.m.weight", UserError);
  CHECK_THROWS_WITH_AS(sgd.optimizer->load({adam.optimizer->state(), {}}),
                       doctest::Contains("another optimizer"), UserError);
  TensorFile file{adam.optimizer->state(), {}};
  file.tensors.push_back({"optim.m.more", Tensor::zeros({1}, DType::f64)});
  CHECK_THROWS_WITH_AS(adam.optimizer->load(file), doctest::Contains("no place for tensor optim.m.more"),
                       UserError);
  file.tensors.pop_back();
  file.tensors[1].tensor = Tensor::zeros({kSize + 1}, DType::f64);
  CHECK_THROWS_WITH_AS(adam.optimizer->load(file),
                       "checkpoint is of another model: tensor optim.m.weight is [8] there and [7] here",
                       UserError);
}

TEST_CASE("optimizer options out of range are refused by name") {
  const ParameterStore store(1);
  const auto refused = [&](const OptimizerOptions& options, const char* message) {
    CHECK_THROWS_WITH_AS(make_optimizer(store, options), doctest::Contains(message), UserError);
  };
  refused({.beta1 = 1.0}, "train.beta1: expected a number in [0, 1), got 1");
  refused({.beta2 = -0.1}, "train.beta2: expected a number in [0, 1), got -0.1");
  refused({.eps = 0.0}, "train.eps: expected a number > 0, got 0");
  refused({.weight_decay = -1.0}, "train.weight_decay: expected a number >= 0, got -1");
  refused({.optimizer = UpdateRule::sgd, .momentum = 1.0},
          "train.momentum: expected a number in [0, 1), got 1");
}

TEST_CASE("clipping by the global norm") {
  Fixture f({});
  f.weight.set_grad(Tensor::full({kSize}, 3.0, DType::f64));
  f.bias.set_grad(Tensor::full({kSize}, 4.0, DType::f64));
  const Tensor norm = global_gradient_norm(f.store);
  const double value = norm.item();
  const auto scale = [](double n, double most) { return clip_scale(Tensor::scalar(n), most).item(); };
  CHECK(value == doctest::Approx(5.0 * std::sqrt(7.0)).epsilon(1e-14));
  CHECK(scale(value, 0.0) == 1.0);
  CHECK(scale(value, value) == 1.0);
  CHECK(scale(0.0, 1.0) == 1.0);
  CHECK(scale(value, 1.0) == doctest::Approx(1.0 / value).epsilon(1e-14));
  for (const double bad : {std::nan(""), HUGE_VAL})
    for (const double most : {0.0, 1.0}) CHECK(!std::isfinite(scale(bad, most)));
  CHECK_THROWS_AS(scale(1.0, -1.0), Error);
  f.store.clear_grads();
  CHECK(global_gradient_norm(f.store).item() == 0.0);
}

}  // namespace simsmoe::nn
