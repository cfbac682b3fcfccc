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
  const Snapshot start = bench.snapshot();
  const Pass first = bench.run(tokens, Mode::training, 0);
  bool drew = false;
  for (std::uint64_t draw = 1; draw <= 4; ++draw) {
    bench.restore(start);
    const Pass pass = bench.run(tokens, Mode::training, draw);
    drew = drew || pass.experts() != first.experts() || pass.weights() != first.weights();
  }
  expect(drew == promise.draws_in_training, "the router draws {}", drew ? "random numbers" : "nothing");
  bench.restore(start);
  expect_same_bits(bench.run(tokens, Mode::training, 0), first, "for the same draw");
}

void training_changes_as_promised(const Promise& promise) {
  const Bench bench(promise);
  const Snapshot before = bench.snapshot();
  bench.run(bench.tokens(), Mode::training);
  for (const nn::Parameter& parameter : bench.router_parameters()) {
    const std::string changed = bench.difference(before, parameter.variable.name());
    expect(changed.empty() || promise.changes == Changes::parameters,
           "a training pass changed the parameter {}", changed);
  }
  const std::string changed = bench.difference(before, kRouterNames);
  expect(changed.empty() || promise.changes != Changes::nothing, "a training pass changed {}", changed);
  expect(!changed.empty() || promise.changes == Changes::nothing, "a training pass changed nothing");
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
