// What may happen on a bad day: no tokens, all tokens alike, no room, scores beyond reason. All of it must
// leave finite numbers behind, in forward, backward and the optimizer.

#include "tests/moe/router_contract/clauses.hpp"

namespace simsmoe::testing {

namespace {

// A training step, then an evaluation.
void expect_finite_step(const Bench& bench, const Tokens& tokens, std::string_view what) {
  bench.store.clear_grads();
  tokens.x.clear_grad();
  {
    Tape tape;
    Pass pass = bench.run(tokens, Mode::training);
    expect(finite(pass.y), "{}: the output is not finite", what);
    expect(finite(pass.route.weights), "{}: the weights are not finite", what);
    for (const nn::LossTerm& term : pass.ctx.losses.terms())
      expect(finite(term.value), "{}: the loss {} is {}", what, term.name, term.value.value().item());
    tape.backward(bench.objective(pass));
    pass.ctx.observed.end_step(pass.ctx.step);
  }
  expect(!tokens.x.grad().defined() || all_finite(tokens.x.grad()),
         "{}: the gradient of the input is not finite", what);
  for (const nn::Parameter& parameter : bench.store.parameters())
    expect(!parameter.variable.grad().defined() || all_finite(parameter.variable.grad()),
           "{}: the gradient of {} is not finite", what, parameter.variable.name());
  bench.optimizer()->step(bench.store, 0.01);
  for (const NamedTensor& now : bench.snapshot())
    expect(!is_float(now.tensor.dtype()) || all_finite(now.tensor),
           "{}: the step leaves {} that is not finite", what, now.name);
  const Pass pass = bench.run(tokens, Mode::evaluation);
  expect(finite(pass.y) && finite(pass.route.weights), "{}: evaluation is not finite", what);
}

}  // namespace

void few_tokens_are_fine(const Promise& promise) {
  for (const std::int64_t count : {std::int64_t{0}, std::int64_t{1}, promise.options.experts - 1}) {
    const Bench bench(promise);
    expect_finite_step(bench, bench.tokens(count), fmt::format("{} tokens", count));
  }
}

void idle_experts_are_fine(const Promise& promise) {
  const Bench bench(promise);
  expect_finite_step(bench, bench.picked(bench.tokens(), std::vector<std::int64_t>(12, 0)),
                     "tokens all alike");
}

void full_experts_are_fine(const Promise& promise) {
  if (!promise.options.traits().capacity) return;
  Promise narrow = promise;
  narrow.options.capacity_factor = 1e-3;  // one token per expert
  const Bench bench(narrow);
  expect_finite_step(bench, bench.tokens(32), "capacity 1");
}

void huge_scores_are_finite(const Promise& promise) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Bench bench(promise, dtype);
    expect_finite_step(bench, bench.scaled(bench.tokens(), 1e4),
                       fmt::format("{}, tokens times 1e4", name_of(dtype)));
  }
}

void equal_scores_are_finite(const Promise& promise) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Bench bench(promise, dtype);
    expect_finite_step(bench, bench.scaled(bench.tokens(), 0.0),
                       fmt::format("{}, tokens of zeros", name_of(dtype)));
    for (const nn::Parameter& parameter : bench.router_parameters()) parameter.variable.value().fill(0.0);
    expect_finite_step(bench, bench.tokens(), fmt::format("{}, a router of zeros", name_of(dtype)));
  }
}

}  // namespace simsmoe::testing
