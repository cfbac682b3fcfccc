// Where gradients arrive, that they are right, and what the losses say.

#include <algorithm>
#include <cmath>

#include "ops/binary.hpp"
#include "ops/unary.hpp"
#include "tests/moe/router_contract/clauses.hpp"
#include "tests/support/gradcheck.hpp"

namespace simsmoe::testing {

namespace {

double largest(const Tensor& tensor) {
  double magnitude = 0.0;
  for (const double value : tensor.to_vector<double>()) magnitude = std::max(magnitude, std::abs(value));
  return magnitude;
}

// Backward of the task, with or without the losses, from fresh gradients.
void differentiate(const Bench& bench, bool with_losses) {
  bench.store.clear_grads();
  Tape tape;
  const Pass pass = bench.run(bench.tokens(32), Mode::training);
  tape.backward(with_losses ? bench.objective(pass) : bench.task(pass));
}

// What training with a single expert per token is in the variant reference.
bool lone_weight_is_1(const Promise& promise) {
  const std::int64_t k = promise.training_k > 0 ? promise.training_k : promise.options.k;
  return promise.weights == WeightSum::one_of_several && promise.options.reference() && k == 1;
}

// Of all parameters that are not frozen; `silent` are trained, but not by what was differentiated.
void expect_gradients(const Bench& bench, const std::vector<std::string>& silent) {
  // What rounding leaves of a constant (a weight divided by itself) teaches nothing.
  double rounding = 0.0;
  for (const nn::Parameter& parameter : bench.store.parameters())
    if (parameter.variable.name().starts_with("moe.experts.") && parameter.variable.grad().defined())
      rounding = std::max(rounding, 1e-12 * largest(parameter.variable.grad()));
  for (const nn::Parameter& parameter : bench.router_parameters()) {
    const std::string name = bench.short_name(parameter);
    if (contains(bench.promise.frozen, name)) continue;
    const Tensor& grad = parameter.variable.grad();
    const bool none = !grad.defined() || largest(grad) <= rounding;
    expect(!grad.defined() || all_finite(grad), "the gradient of {} is not finite", name);
    if (contains(silent, name))
      expect(none, "a gradient arrives at {}, which is promised to have none", name);
    else
      expect(!none, "no gradient arrives at {}", name);
  }
}

// The task and the losses through which the gradient is whole: not similarity learning, which is kept away
// from tokens.
Variable whole_objective(const Bench& bench, const Pass& pass) {
  Variable sum = bench.task(pass);
  for (const nn::LossTerm& term : pass.ctx.losses.terms())
    if (term.name != "similarity" && !contains(bench.promise.stopped_losses, term.name))
      sum = ops::add(sum, ops::scale(term.value, term.weight));
  return sum;
}

Variable stopped_objective(const Bench& bench, const Pass& pass) {
  Variable sum = ops::scale(bench.task(pass), 0.0);
  for (const nn::LossTerm& term : pass.ctx.losses.terms())
    if (contains(bench.promise.stopped_losses, term.name))
      sum = ops::add(sum, ops::scale(term.value, term.weight));
  return sum;
}

using Objective = Variable(const Bench& bench, const Pass& pass);

// Tokens are drawn anew while a choice hangs in the balance at some of them: there is no derivative to
// compare. A router that rewrites parameters has done so once before.
void expect_numeric_gradient(const Bench& bench, Objective& objective, bool router_only) {
  if (bench.promise.changes == Changes::parameters) bench.learn(bench.tokens(7));
  GradcheckReport report;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const Tokens tokens = bench.tokens(7, fmt::format("tokens {}", attempt));
    std::vector<std::int64_t> chosen;
    const auto loss = [&] {
      const Pass pass = bench.run(tokens, Mode::training);
      chosen = pass.experts();
      return objective(bench, pass);
    };
    bench.store.clear_grads();
    {
      Tape tape;
      tape.backward(loss());
    }
    std::vector<Variable> moved;
    for (const nn::Parameter& parameter : router_only ? bench.router_parameters() : bench.store.parameters())
      if (parameter.variable.grad().defined()) moved.push_back(parameter.variable);
    if (!router_only) moved.push_back(tokens.x);
    GradcheckOptions options;
    options.samples_per_tensor = 12;
    options.allow_zero_gradient = true;  // another clause
    options.selection = [&] { return chosen; };
    report = gradcheck(loss, moved, options);
    const auto unstable = [](const std::string& problem) {
      return problem.starts_with("the selection changed");
    };
    if (std::ranges::none_of(report.problems, unstable)) break;
  }
  expect(report.passed, "{}", report.to_string());
}

// M_ij = 1 where i = j (last two axes), else 0.
void make_identity(const Tensor& matrix) {
  const std::int64_t rows = matrix.size(0), columns = matrix.size(1);
  std::vector<double> values(static_cast<std::size_t>(rows * columns), 0.0);
  for (std::int64_t i = 0; i < std::min(rows, columns); ++i)
    values[static_cast<std::size_t>(i * columns + i)] = 1.0;
  matrix.copy_from(Tensor::from(values, matrix.shape()).to(matrix.dtype()));
}

// E_e(x) = act(x_e) in every place: the experts differ by a rotation of the token.
void rotate_experts(const Bench& bench) {
  for (const nn::Parameter& parameter : bench.store.parameters())
    if (parameter.variable.name().starts_with("moe.experts.")) parameter.variable.value().fill(0.0);
  const Tensor up = bench.store.find("moe.experts.up")->variable.value();      // [E, F, D]
  const Tensor down = bench.store.find("moe.experts.down")->variable.value();  // [E, D, F]
  const std::int64_t hidden = up.size(1), dim = up.size(2);
  std::vector<double> ups(static_cast<std::size_t>(up.numel()), 0.0), downs = ups;
  for (std::int64_t e = 0; e < up.size(0); ++e) {
    ups[static_cast<std::size_t>(e * hidden * dim + e)] = 1.0;
    for (std::int64_t d = 0; d < dim; ++d) downs[static_cast<std::size_t>((e * dim + d) * hidden)] = 1.0;
  }
  up.copy_from(Tensor::from(ups, up.shape()).to(up.dtype()));
  down.copy_from(Tensor::from(downs, down.shape()).to(down.dtype()));
}

// Token t is the first one rotated by t, so each expert is liked most by as many tokens as any other. [1, 3
// E, D]
Tensor rotated_tokens(std::int64_t experts, std::int64_t dim) {
  std::vector<double> x(static_cast<std::size_t>(3 * experts * dim), 0.0);
  for (std::int64_t t = 0; t < 3 * experts; ++t)
    for (std::int64_t e = 0; e < experts; ++e)
      x[static_cast<std::size_t>(t * dim + (e + t) % experts)] = 2.0 * static_cast<double>(experts - e);
  return Tensor::from(x, {1, 3 * experts, dim});
}

}  // namespace

void gradient_arrives(const Promise& promise) {
  const Bench bench(promise);
  differentiate(bench, true);
  for (const nn::Parameter& parameter : bench.router_parameters()) {
    const std::string name = bench.short_name(parameter);
    const bool frozen = contains(promise.frozen, name);
    expect(parameter.options.trainable != frozen, "{} is {}, promised was the opposite", name,
           frozen ? "trained" : "frozen");
    expect(!frozen || !parameter.variable.grad().defined(), "a gradient arrives at {}, which is frozen",
           name);
  }
  expect_gradients(bench, promise.idle);
}

void task_teaches(const Promise& promise) {
  const Bench bench(promise);
  differentiate(bench, false);
  std::vector<std::string> silent = promise.idle;
  silent.insert(silent.end(), promise.not_from_task.begin(), promise.not_from_task.end());
  if (lone_weight_is_1(promise))
    for (const nn::Parameter& parameter : bench.router_parameters())
      silent.push_back(bench.short_name(parameter));
  expect_gradients(bench, silent);
}

void numeric_gradient_agrees(const Promise& promise) {
  const Bench bench(promise);
  expect_numeric_gradient(bench, whole_objective, false);
  if (!promise.stopped_losses.empty()) expect_numeric_gradient(bench, stopped_objective, true);
}

void stopped_losses_spare_experts(const Promise& promise) {
  if (promise.stopped_losses.empty()) return;
  const Bench bench(promise);
  bench.store.clear_grads();
  Tape tape;
  tape.backward(stopped_objective(bench, bench.run(bench.tokens(32), Mode::training)));
  for (const nn::Parameter& parameter : bench.store.parameters()) {
    const Variable& p = parameter.variable;
    expect(!p.name().starts_with("moe.experts.") || !p.grad().defined() || all_zero(p.grad()),
           "a gradient of {} arrives at {}", fmt::join(promise.stopped_losses, ", "), p.name());
  }
}

void uniform_balance_is_as_promised(const Promise& promise) {
  if (!promise.uniform_balance) return;
  const std::int64_t all = promise.options.experts;
  expect(promise.site.dim >= all, "the clause needs dim of at least {} experts", all);
  const Bench bench(promise);
  for (const nn::Parameter& parameter : bench.router_parameters()) {
    const Tensor& value = parameter.variable.value();
    if (value.rank() == 2)
      make_identity(value);
    else if (value.numel() == all)
      value.fill(0.0);
  }
  rotate_experts(bench);
  Tokens tokens = bench.tokens(3 * all);
  tokens.x.set_value(rotated_tokens(all, promise.site.dim));
  const Pass pass = bench.run(tokens, Mode::training);
  std::vector<std::int64_t> load(static_cast<std::size_t>(all), 0);
  for (const std::int64_t e : pass.experts())
    if (e >= 0) ++load[static_cast<std::size_t>(e)];
  expect(promise.count == ChoiceCount::up_to_k_in_training ||
             std::ranges::adjacent_find(load, std::not_equal_to{}) == load.end(),
         "the load is not uniform: [{}]", fmt::join(load, ", "));
  const nn::LossTerm* balance = pass.loss("balance");
  expect(balance != nullptr, "there is no loss balance");
  const double value = balance->value.value().item();
  expect(std::abs(value - *promise.uniform_balance) < 1e-10,
         "the balance loss is {} at uniform load, promised is {}", value, *promise.uniform_balance);
}

void scores_stay_exact(const Promise& promise) {
  const Bench bench(promise, DType::f32);
  const auto expect_exact = [](const Variable& value, std::string_view what, Mode mode) {
    if (value.defined())
      expect(value.dtype() == DType::f32, "{}: {}: {}", name_of(mode), what, describe(value.value()));
  };
  for (const Mode mode : kModes) {
    nn::ForwardContext ctx = bench.context(mode);
    ctx.compute_dtype = DType::bf16;
    Tokens tokens = bench.tokens();
    tokens.x = Variable(tokens.x.value().to(DType::bf16), true, "x");
    const Pass pass = bench.run(tokens, ctx);
    expect(pass.y.dtype() == DType::bf16, "{}: the layer gives {}", name_of(mode), describe(pass.y.value()));
    expect_exact(pass.route.weights, "weights", mode);
    expect_exact(pass.route.logits, "logits", mode);
    expect_exact(pass.route.probabilities, "probabilities", mode);
    for (const nn::LossTerm& term : pass.ctx.losses.terms())
      expect_exact(term.value, "loss " + term.name, mode);
  }
}

void account_is_complete(const Promise& promise) {
  const Bench bench(promise);
  const nn::Account account = bench.layer().account();
  expect(account.parameters == bench.store.num_elements(),
         "account() tells of {} parameters, the layer has {}", account.parameters,
         bench.store.num_elements());
  expect(account.active_parameters <= account.parameters, "more parameters are active than there are");
}

}  // namespace simsmoe::testing
