// A network that learns: parameters come from a Scope, a step is tape, loss, backward, update.
// The task is XOR, which no linear map can do. Next: nn/scope.hpp, nn/layers.hpp.

#include <fmt/format.h>

#include "nn/layers.hpp"
#include "nn/optimizer.hpp"
#include "ops/ops.hpp"

using namespace simsmoe;

int main() {
  nn::ParameterStore store(/*seed=*/1);
  const nn::Scope root(store);
  const nn::Linear hidden(root / "hidden", 2, 8), output(root / "output", 8, 2);  // modules are plain structs
  const auto optimizer = nn::make_optimizer(store, {.weight_decay = 0.0});

  const Variable x(Tensor::from<float>({0, 0, 0, 1, 1, 0, 1, 1}, {4, 2}));  // [N, 2]
  const Tensor targets = Tensor::from<std::int32_t>({0, 1, 1, 0}, {4});     // [N]

  nn::ForwardContext ctx;
  ctx.training = true;
  double loss_value = 0;
  for (int step = 0; step < 200; ++step) {
    Tape tape;
    const Variable logits = output(ops::tanh(hidden(x, ctx)), ctx);  // [N, 2]
    const Variable loss = ops::cross_entropy(logits, targets);
    loss_value = loss.value().item();
    if (step % 50 == 0) fmt::print("step {:3}  loss {:.4f}\n", step, loss_value);
    tape.backward(loss);
    optimizer->step(store, /*lr=*/0.05);
    store.clear_grads();
  }
  fmt::print("step 200  loss {:.4f}, {} parameters\n", loss_value, store.num_elements());
  return loss_value < 0.05 ? 0 : 1;
}
