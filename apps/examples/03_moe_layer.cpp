// A sparse mixture of experts by itself: which experts the tokens take, what the balance loss says, and that
// the router learns from the task. Next: moe/moe_layer.cpp, moe/routers/smoe.cpp.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "moe/moe_layer.hpp"
#include "ops/ops.hpp"

using namespace simsmoe;

int main() {
  constexpr std::int64_t kTokens = 6, kDim = 4;
  nn::ParameterStore store(/*seed=*/7);
  moe::MoeLayer layer(nn::Scope(store) / "moe", {.experts = 4, .k = 2, .hidden = 8}, {.dim = kDim});

  std::vector<float> values(kTokens * kDim);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random_normal({1, 2}, 0, i));
  const Variable x(Tensor::from(values, {kTokens, kDim}));

  nn::ForwardContext ctx;
  ctx.training = true;
  const auto chosen = layer.router().route(x, layer.experts(), ctx).experts.to_vector<std::int32_t>();
  for (std::size_t n = 0; n < kTokens; ++n)
    fmt::print("token {} takes experts {} and {}\n", n, chosen[2 * n], chosen[2 * n + 1]);

  Tape tape;
  const Variable task = ops::mean(ops::square(layer.forward(x, ctx)));  // any loss will do
  fmt::print("task {:.4f}, auxiliary losses {}\n", task.value().item(), ctx.losses.by_name());
  const Variable loss = ops::add(task, ctx.losses.total());
  tape.backward(loss);

  const auto account = layer.account();
  fmt::print("{} parameters, {} used by one token\n", account.parameters, account.active_parameters);
  for (const nn::Parameter& parameter : store.parameters())
    if (!parameter.variable.grad().defined()) return 1;  // the router too learns from the task
  return 0;
}
