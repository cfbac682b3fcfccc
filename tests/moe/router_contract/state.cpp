// What a router keeps and draws: nothing in evaluation, what it says in training, and all of it in the
// checkpoint.

#include "tests/moe/router_contract/clauses.hpp"

namespace simsmoe::testing {

namespace {

constexpr std::string_view kRouterNames = "moe.router.";
constexpr std::uint64_t kSteps = 3;

// A bench whose state is not that of the start.
std::unique_ptr<Bench> used_bench(const Promise& promise) {
  auto bench = std::make_unique<Bench>(promise);
  const std::unique_ptr<nn::Optimizer> optimizer = bench->optimizer();
  for (std::uint64_t i = 0; i < 2; ++i) bench->train(*optimizer, bench->tokens(), i);
  return bench;
}

void expect_same_bits(const Pass& a, const Pass& b, std::string_view why) {
  expect(a.experts() == b.experts(), "other experts {}", why);
  expect(a.weights() == b.weights(), "other weights {}", why);
  expect(a.y.value().to_vector<double>() == b.y.value().to_vector<double>(), "another output {}", why);
}

Snapshot copy_of_state(const nn::Optimizer& optimizer) {
  Snapshot copy;
  for (const NamedTensor& state : optimizer.state()) copy.push_back({state.name, state.tensor.clone()});
  return copy;
}

}  // namespace

namespace {

// What a training pass leaves: choices, weights, output, losses and all gradients, as numbers.
std::vector<std::vector<double>> result_of(const Bench& bench, const Tokens& tokens,
                                           nn::ForwardContext& ctx) {
  bench.store.clear_grads();
  tokens.x.clear_grad();
  Tape tape;
  Pass pass = bench.run(tokens, std::move(ctx));
  tape.backward(bench.objective(pass));
  std::vector<std::vector<double>> all = {pass.route.experts.to_vector<double>(), pass.weights(),
                                          pass.y.value().to_vector<double>(),
                                          tokens.x.grad().to_vector<double>()};
  for (const nn::LossTerm& term : pass.ctx.losses.terms())
    all.push_back(term.value.value().to_vector<double>());
  for (const nn::Parameter& parameter : bench.store.parameters())
    if (parameter.variable.grad().defined()) all.push_back(parameter.variable.grad().to_vector<double>());
  pass.ctx.losses.clear();
  ctx = std::move(pass.ctx);
  return all;
}

}  // namespace

// As recomputation runs it: again from the context as it was, in the first pass of a step and in a later one.
void pass_is_a_function(const Promise& promise) {
  const std::unique_ptr<Bench> bench = used_bench(promise);
  nn::ForwardContext ctx = bench->context(Mode::training);
  for (const std::string_view which : {"first", "second", "third"}) {
    const Tokens tokens = bench->tokens(9, which);
    nn::ForwardContext again = ctx;
    const auto once = result_of(*bench, tokens, ctx), twice = result_of(*bench, tokens, again);
    expect(once == twice, "the {} pass of a step gives other bits when it is run again", which);
    ++ctx.draw;
  }
}

void only_the_owner_applies(const Promise& promise) {
  const std::unique_ptr<Bench> bench = used_bench(promise);
  const Snapshot before = bench->snapshot();
  nn::ForwardContext ctx = bench->context(Mode::training);
  for (int i = 0; i < 3; ++i) result_of(*bench, bench->tokens(), ctx);
  const std::string changed = bench->difference(before);
  expect(changed.empty(), "training passes alone changed {}", changed);
}

void evaluation_draws_nothing(const Promise& promise) {
  const std::unique_ptr<Bench> bench = used_bench(promise);
  const Tokens tokens = bench->tokens();
  const Pass first = bench->run(tokens, Mode::evaluation);
  for (const std::uint64_t number : {1, 7, 30}) {
    nn::ForwardContext ctx = bench->context(Mode::evaluation, number);
    expect_same_bits(bench->run(tokens, ctx), first, fmt::format("at draw {}", number));
    ctx.step = number;
    expect_same_bits(bench->run(tokens, ctx), first, fmt::format("at step {}", number));
  }
}

void evaluation_changes_nothing(const Promise& promise) {
  const std::unique_ptr<Bench> bench = used_bench(promise);
  const Tokens tokens = bench->tokens(), others = bench->tokens(5, "others");
  const Snapshot before = bench->snapshot();
  const Pass first = bench->run(tokens, Mode::evaluation);
  expect(first.ctx.losses.terms().empty(), "evaluation adds the loss {}",
         first.ctx.losses.terms().empty() ? "" : first.ctx.losses.terms()[0].name);
  for (int i = 0; i < 3; ++i) bench->run(others, Mode::evaluation);
  {
    Tape tape;
    bench->run(others, Mode::evaluation);
  }
  expect_same_bits(bench->run(tokens, Mode::evaluation), first, "after some passes of evaluation");
  const std::string changed = bench->difference(before);
  expect(changed.empty(), "evaluation changed {}", changed);
}

void training_draws_as_promised(const Promise& promise) {
  const Bench bench(promise);
  const Tokens tokens = bench.tokens(64);
  const Pass first = bench.run(tokens, Mode::training, 0);
  bool drew = false;
  for (std::uint64_t draw = 1; draw <= 4; ++draw) {
    const Pass pass = bench.run(tokens, Mode::training, draw);
    drew = drew || pass.experts() != first.experts() || pass.weights() != first.weights();
  }
  expect(drew == promise.draws_in_training, "the router draws {}", drew ? "random numbers" : "nothing");
  expect_same_bits(bench.run(tokens, Mode::training, 0), first, "for the same draw");
}

void training_changes_as_promised(const Promise& promise) {
  const Bench bench(promise);
  const Snapshot before = bench.snapshot();
  bench.learn(bench.tokens());
  for (const nn::Parameter& parameter : bench.router_parameters()) {
    const std::string changed = bench.difference(before, parameter.variable.name());
    expect(changed.empty() || promise.changes == Changes::parameters,
           "learning from a pass changed the parameter {}", changed);
  }
  const std::string changed = bench.difference(before, kRouterNames);
  expect(changed.empty() || promise.changes != Changes::nothing, "learning from a pass changed {}", changed);
  expect(!changed.empty() || promise.changes == Changes::nothing, "learning from a pass changed nothing");
}

void resuming_gives_same_bits(const Promise& promise) {
  const Bench whole(promise);
  const std::unique_ptr<nn::Optimizer> optimizer = whole.optimizer();
  const auto tokens_of = [&](std::uint64_t step) { return whole.tokens(9, fmt::format("step {}", step)); };
  for (std::uint64_t i = 0; i < kSteps; ++i) whole.train(*optimizer, tokens_of(i), i);

  const Bench resumed(promise, whole.snapshot());
  const std::unique_ptr<nn::Optimizer> resumed_optimizer = resumed.optimizer();
  resumed_optimizer->load({.tensors = copy_of_state(*optimizer), .metadata = {}});
  for (std::uint64_t i = kSteps; i < 2 * kSteps; ++i) {
    whole.train(*optimizer, tokens_of(i), i);
    resumed.train(*resumed_optimizer, tokens_of(i), i);
    const std::string other = resumed.difference(whole.snapshot());
    expect(other.empty(), "{} differs after step {} of {}, resumed after {}", other, i + 1, 2 * kSteps,
           kSteps);
  }
  for (const Mode mode : kModes)
    expect_same_bits(resumed.run(tokens_of(0), mode), whole.run(tokens_of(0), mode), "after resuming");
}

}  // namespace simsmoe::testing
