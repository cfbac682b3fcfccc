// What a router decides: how many experts, which ones, with which weight, and that it decides for each token
// alone.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moe/dispatch_plan.hpp"
#include "tests/moe/router_contract/clauses.hpp"

namespace simsmoe::testing {

namespace {

constexpr double kRounding = 1e-12;

std::int64_t experts_per_token(const Promise& promise, Mode mode) {
  if (promise.count == ChoiceCount::any)
    return promise.columns > 0 ? promise.columns : promise.options.experts;
  return mode == Mode::training && promise.training_k > 0 ? promise.training_k : promise.options.k;
}

bool may_lack(const Promise& promise, Mode mode) {
  return promise.count == ChoiceCount::any ||
         (promise.count == ChoiceCount::up_to_k_in_training && mode == Mode::training);
}

void check_plan(const Promise& promise, const Pass& pass, std::int64_t tokens, std::int64_t k, bool lacking,
                std::string_view where) {
  const std::int64_t all = promise.options.experts;
  const Tensor& choices = pass.route.experts;
  expect(choices.shape() == Shape{tokens, k}, "{}: experts are {}, expected [{}, {}]", where,
         describe(choices), tokens, k);
  expect(choices.dtype() == DType::i32, "{}: experts are {}, expected i32", where, describe(choices));
  expect(pass.route.weights.shape() == choices.shape(), "{}: weights are {}, experts {}", where,
         describe(pass.route.weights.value()), describe(choices));
  const std::vector<std::int64_t> experts = pass.experts();
  for (std::int64_t t = 0; t < tokens; ++t) {
    std::vector<std::int64_t> mine(experts.begin() + t * k, experts.begin() + (t + 1) * k);
    expect(std::ranges::all_of(mine, [&](auto e) { return e >= -1 && e < all; }),
           "{}: token {} chose [{}] of {} experts", where, t, fmt::join(mine, ", "), all);
    std::erase(mine, -1);
    expect(lacking || static_cast<std::int64_t>(mine.size()) == k, "{}: token {} has {} experts, expected {}",
           where, t, mine.size(), k);
    std::ranges::sort(mine);
    expect(std::ranges::adjacent_find(mine) == mine.end(), "{}: token {} chose an expert twice: [{}]", where,
           t, fmt::join(mine, ", "));
  }
  const moe::DispatchPlan plan = moe::make_plan(choices, all);
  const std::vector<std::int64_t> offsets = plan.partition.offsets.to_vector<std::int64_t>();
  const std::vector<std::int64_t> order = plan.partition.order.to_vector<std::int64_t>();
  const std::vector<std::int64_t> position = plan.partition.position.to_vector<std::int64_t>();
  const auto made = std::ranges::count_if(experts, [](std::int64_t e) { return e >= 0; });
  expect(offsets.front() == 0 && offsets.back() == made, "{}: the plan has {} rows for {} choices", where,
         offsets.back(), made);
  for (std::size_t copy = 0; copy < experts.size(); ++copy) {
    if (experts[copy] < 0) continue;
    const auto e = static_cast<std::size_t>(experts[copy]);
    const std::int64_t row = position[copy];
    expect(offsets[e] <= row && row < offsets[e + 1], "{}: copy {} is outside of the rows of expert {}",
           where, copy, e);
    expect(order[static_cast<std::size_t>(row)] == static_cast<std::int64_t>(copy),
           "{}: order and position disagree", where);
  }
}

// Whether training gives a token one expert: at this step, or at its end, of which evaluation is.
bool trained_alone(const Promise& promise, Mode mode) {
  if (mode == Mode::training) return experts_per_token(promise, mode) == 1;
  if (promise.options.k_shape() == moe::KShape::none) return promise.options.k == 1;
  return moe::KSchedule(promise.options, promise.site.steps).at(promise.site.steps) == 1;
}

void check_weights(const Promise& promise, const Pass& pass, Mode mode) {
  const std::int64_t k = pass.route.experts.size(1);
  const std::vector<std::int64_t> experts = pass.experts();
  const std::vector<double> weights = pass.weights();
  const bool one = promise.weights == WeightSum::one ||
                   (promise.weights == WeightSum::one_of_several &&
                    (k > 1 || promise.options.reference() || !trained_alone(promise, mode)));
  for (std::int64_t t = 0; t < pass.route.experts.size(0); ++t) {
    double sum = 0.0, last = std::numeric_limits<double>::infinity();
    bool lacks = false;
    for (std::int64_t j = 0; j < k; ++j) {
      const auto at = static_cast<std::size_t>(t * k + j);
      const double w = weights[at];
      expect(std::isfinite(w), "{}: weight {} of token {} is {}", name_of(mode), j, t, w);
      expect(w >= 0.0, "{}: weight {} of token {} is {}", name_of(mode), j, t, w);
      expect(!promise.descending || w <= last, "{}: the weights of token {} are not in descending order",
             name_of(mode), t);
      last = w;
      if (experts[at] >= 0)
        sum += w;
      else
        lacks = true;
    }
    if (promise.weights == WeightSum::not_negative) continue;
    expect(sum <= 1.0 + kRounding, "{}: the weights of token {} sum to {}", name_of(mode), t, sum);
    expect(!one || lacks || sum >= 1.0 - kRounding, "{}: the weights of token {} sum to {}", name_of(mode), t,
           sum);
  }
}

// 0 .. count - 1 in an order without a pattern.
std::vector<std::int64_t> shuffled(std::int64_t count) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) order[static_cast<std::size_t>(i)] = (i * 5 + 3) % count;
  return order;
}

// Whether `part` treats its token i as `whole` treats its token rows[i].
void expect_same_treatment(const Pass& part, const Pass& whole, const std::vector<std::int64_t>& rows,
                           Mode mode) {
  const std::int64_t k = whole.route.experts.size(1), dim = whole.y.size(-1);
  const std::vector<std::int64_t> experts = part.experts(), old_experts = whole.experts();
  const std::vector<double> weights = part.weights(), old_weights = whole.weights();
  const std::vector<double> y = part.y.value().to_vector<double>(),
                            old_y = whole.y.value().to_vector<double>();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto now = static_cast<std::int64_t>(i);
    for (std::int64_t j = 0; j < k; ++j) {
      const auto at = static_cast<std::size_t>(now * k + j), old = static_cast<std::size_t>(rows[i] * k + j);
      expect(experts[at] == old_experts[old], "{}: choice {} of token {} was {} and is {}", name_of(mode), j,
             rows[i], old_experts[old], experts[at]);
      expect(std::abs(weights[at] - old_weights[old]) < kRounding,
             "{}: weight {} of token {} was {} and is {}", name_of(mode), j, rows[i], old_weights[old],
             weights[at]);
    }
    for (std::int64_t d = 0; d < dim; ++d) {
      const double before = old_y[static_cast<std::size_t>(rows[i] * dim + d)];
      const double after = y[static_cast<std::size_t>(now * dim + d)];
      expect(std::abs(after - before) < 1e-10, "{}: output {} of token {} was {} and is {}", name_of(mode), d,
             rows[i], before, after);
    }
  }
}

// Evaluation, and training where no noise is drawn: each position would draw its own.
bool applies(const Promise& promise, Mode mode) {
  return mode == Mode::evaluation || !promise.draws_in_training;
}

// Whether these rows, alone and in this order, are treated as they are among all.
void expect_same_for(const Bench& bench, const std::vector<std::int64_t>& rows) {
  const Tokens tokens = bench.tokens();
  for (const Mode mode : kModes) {
    if (!applies(bench.promise, mode)) continue;
    const Pass whole = bench.run(tokens, mode);
    expect_same_treatment(bench.run(bench.picked(tokens, rows), mode), whole, rows, mode);
  }
}

}  // namespace

void weights_are_as_promised(const Promise& promise) {
  const Bench bench(promise);
  for (const Mode mode : kModes) check_weights(promise, bench.run(bench.tokens(64), mode), mode);
}

void plan_is_valid(const Promise& promise) {
  const Bench bench(promise);
  for (const Mode mode : kModes)
    for (const std::int64_t count : {1, 9, 64})
      check_plan(promise, bench.run(bench.tokens(count), mode), count, experts_per_token(promise, mode),
                 may_lack(promise, mode), name_of(mode));
}

void choices_follow_logits(const Promise& promise) {
  if (!promise.top_k_of_logits) return;
  const Bench bench(promise);
  for (const Mode mode : kModes) {
    const Pass pass = bench.run(bench.tokens(64), mode);
    expect(pass.route.logits.defined(), "{}: the router gives no logits", name_of(mode));
    const std::vector<double> logits = pass.route.logits.value().to_vector<double>();
    const std::vector<std::int64_t> experts = pass.experts();
    const std::int64_t k = pass.route.experts.size(1), all = promise.options.experts;
    std::vector<std::int64_t> best(static_cast<std::size_t>(all));
    for (std::int64_t t = 0; t < 64; ++t) {
      std::iota(best.begin(), best.end(), 0);
      std::ranges::stable_sort(best, std::ranges::greater{},
                               [&](std::int64_t e) { return logits[static_cast<std::size_t>(t * all + e)]; });
      for (std::int64_t j = 0; j < k; ++j) {
        const std::int64_t chosen = experts[static_cast<std::size_t>(t * k + j)];
        expect(chosen == best[static_cast<std::size_t>(j)] || (chosen < 0 && may_lack(promise, mode)),
               "{}: choice {} of token {} is {}, the logits say {}", name_of(mode), j, t, chosen,
               best[static_cast<std::size_t>(j)]);
      }
    }
  }
}

void ties_go_to_lowest(const Promise& promise) {
  if (!promise.ties_to_lowest) return;
  for (const Mode mode : kModes) {
    if (!applies(promise, mode)) continue;
    const Bench bench(promise);
    for (const nn::Parameter& parameter : bench.store.parameters()) parameter.variable.value().fill(0.0);
    const Pass pass = bench.run(bench.tokens(), mode);
    const std::vector<std::int64_t> experts = pass.experts();
    const auto k = static_cast<std::size_t>(pass.route.experts.size(1));
    for (std::size_t i = 0; i < experts.size(); ++i)
      expect(experts[i] == static_cast<std::int64_t>(i % k),
             "{}: all scores are equal, and choice {} of token {} is {}", name_of(mode), i % k, i / k,
             experts[i]);
  }
}

void permutation_permutes(const Promise& promise) {
  const Bench bench(promise);
  expect_same_for(bench, shuffled(bench.tokens().count()));
}

void tokens_are_independent(const Promise& promise) {
  if (!promise.token_by_token) return;
  const Bench bench(promise);
  expect_same_for(bench, {0, 1, 2, 3});
}

void every_k_is_served(const Promise& promise) {
  if (!promise.any_k) return;
  const Bench bench(promise);
  for (std::int64_t k = 1; k <= promise.options.experts; ++k) {
    nn::ForwardContext ctx = bench.context(Mode::evaluation);
    ctx.experts_per_token = k;
    const Tokens tokens = bench.tokens();
    const Pass pass = bench.run(tokens, ctx);
    const bool any = promise.count == ChoiceCount::any;
    check_plan(promise, pass, tokens.count(), any ? experts_per_token(promise, Mode::evaluation) : k, any,
               fmt::format("k = {}", k));
    expect(finite(pass.route.weights) && finite(pass.y), "k = {}: weights or output are not finite", k);
    check_weights(promise, pass, Mode::evaluation);
  }
}

}  // namespace simsmoe::testing
