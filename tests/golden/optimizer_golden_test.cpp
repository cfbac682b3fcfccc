// The optimizers of make_optimizer_golden.py: after each of fifty steps, of which parameters miss some, every parameter
// must be where PyTorch's is.
#include <doctest/doctest.h>

#include "nn/init.hpp"
#include "nn/optimizer.hpp"
#include "tests/golden/golden.hpp"

namespace simsmoe {

namespace {

struct Case {
  std::string name;
  nn::OptimizerOptions options;
};

std::vector<Case> cases() {
  const auto adaptive = [](nn::UpdateRule rule) {
    return nn::OptimizerOptions{.optimizer = rule, .beta1 = 0.9, .beta2 = 0.99, .weight_decay = 0.1};
  };
  const auto sgd = [](double momentum) {
    return nn::OptimizerOptions{.optimizer = nn::UpdateRule::sgd, .momentum = momentum, .weight_decay = 0.1};
  };
  return {{"adam", adaptive(nn::UpdateRule::adam)},
          {"adamw", adaptive(nn::UpdateRule::adamw)},
          {"sgd", sgd(0.0)},
          {"momentum", sgd(0.9)}};
}

}  // namespace

TEST_CASE("fifty steps agree with PyTorch where parameters miss steps") {
  const TensorFile file = read_safetensors(SIMSMOE_GOLDEN_FOLDER "/optimizer.safetensors");
  const std::vector<double> lr = file.at("lr").to_vector<double>();
  REQUIRE(lr.size() == 50);
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    nn::ParameterStore store(0, DType::f64);
    for (const NamedTensor& initial : part(file, "initial/")) {
      const Variable parameter = nn::Scope(store).parameter(
          initial.name, initial.tensor.shape(), nn::init::zeros(), {.decay = initial.name != "bias"});
      parameter.value().copy_from(initial.tensor);
    }
    const auto optimizer = nn::make_optimizer(store, c.options);
    for (std::int64_t step = 0; step < 50; ++step) {
      CAPTURE(step);
      store.clear_grads();
      const auto of_step = [&](const std::string& group, const nn::Parameter& p) {
        return file.at(group + "/" + p.variable.name()).slice0(step, step + 1);
      };
      for (const nn::Parameter& p : store.parameters())
        if (of_step("present", p).item() == 1.0)
          p.variable.set_grad(of_step("gradient", p).view(p.variable.shape()).clone());
      optimizer->step(store, lr[static_cast<std::size_t>(step)]);
      for (const nn::Parameter& p : store.parameters()) {
        CAPTURE(p.variable.name());
        const Tensor theirs = of_step(c.name, p).view(p.variable.shape());
        CHECK(relative_error(p.variable.value(), theirs) < 1e-12);
      }
    }
  }
}

}  // namespace simsmoe
