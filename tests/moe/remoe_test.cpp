// ReMoE against its equations in plain doubles: who is chosen, what that costs, and how its price moves.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "nn/decoder.hpp"
#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

using Rows = std::vector<std::vector<double>>;

constexpr std::size_t kTokens = 7, kExperts = 4, kDim = 5;
constexpr double kLambda = 0.3;

MoeOptions options_of(Variant variant, std::int64_t k = 2, std::int64_t cap = 0) {
  MoeOptions options = small_options();
  options.router = "remoe";
  options.router_bias = false;
  options.variant = variant;
  options.k = k;
  options.set("remoe.cap", cap).set("remoe.lambda0", kLambda);
  return options;
}

nn::Site site_of(std::int64_t layers) {
  nn::Site site = kSite;
  site.count = layers;
  return site;
}

Rows rows_of(const Tensor& matrix) {
  const std::vector<double> values = matrix.to_vector<double>();
  const auto width = static_cast<std::ptrdiff_t>(matrix.size(1));
  Rows rows;
  for (auto at = values.begin(); at != values.end(); at += width) rows.emplace_back(at, at + width);
  return rows;
}

// The equations of a layer. cap: experts per token at most.
struct Expected {
  Expected(const Rows& x, const Rows& w, std::size_t cap, std::int64_t k)
      : weights(x.size(), std::vector<double>(kExperts, 0.0)),
        dx(x.size(), std::vector<double>(kDim, 0.0)),
        dw(kExperts, std::vector<double>(kDim, 0.0)) {
    const auto tokens = static_cast<double>(x.size());
    std::vector<double> of_expert(kExperts, 0.0);  // n_e
    for (std::size_t t = 0; t < x.size(); ++t) {
      std::vector<std::pair<double, std::size_t>> scores;
      for (std::size_t e = 0; e < kExperts; ++e) {
        double g = 0.0;
        for (std::size_t d = 0; d < kDim; ++d) g += x[t][d] * w[e][d];
        scores.emplace_back(-g, e);
      }
      std::ranges::sort(scores);
      for (std::size_t j = 0; j < std::min(cap, kExperts) && scores[j].first < 0.0; ++j) {
        weights[t][scores[j].second] = -scores[j].first;
        of_expert[scores[j].second] += 1.0;
      }
    }
    for (std::size_t e = 0; e < kExperts; ++e) {
      const double f = static_cast<double>(kExperts) * of_expert[e] / (static_cast<double>(k) * tokens);
      for (std::size_t t = 0; t < x.size(); ++t) {
        loss += kLambda * f * weights[t][e] / tokens;
        if (weights[t][e] == 0.0) continue;
        for (std::size_t d = 0; d < kDim; ++d) {
          dx[t][d] += kLambda * f / tokens * w[e][d];
          dw[e][d] += kLambda * f / tokens * x[t][d];
        }
      }
    }
  }

  Rows weights;  // [N][E], 0: not chosen
  double loss = 0.0;
  Rows dx, dw;
};

void check_close(const Rows& got, const Rows& expected, double factor) {
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    for (std::size_t j = 0; j < got[i].size(); ++j)
      CHECK(got[i][j] == doctest::Approx(factor * expected[i][j]).epsilon(1e-12));
}

// Scores that are the same for every token: `above` of them are positive.
void choose(const SmallLayer& small, std::int64_t above) {
  std::vector<double> weight(kExperts * kDim, 0.0);
  for (std::size_t e = 0; e < kExperts; ++e)
    weight[e * kDim] = static_cast<std::int64_t>(e) < above ? 0.5 : -0.5;
  small.parameter("moe.router.weight").set_value(Tensor::from(weight, {kExperts, kDim}));
}

void pass(const SmallLayer& small, nn::ForwardContext& ctx) {
  small.layer.forward(Variable(Tensor::full({1, kTokens, kDim}, 1.0, DType::f64)), ctx);
}

double lambda_of(const SmallLayer& small) {
  return std::ranges::find(small.store.buffers(), "moe.router.lambda", &NamedTensor::name)->tensor.item();
}

// lambda after a step whose passes choose so many experts for each token.
double lambda_after(const MoeOptions& options, const std::vector<std::int64_t>& passes) {
  const SmallLayer small(options);
  const double before = lambda_of(small);
  nn::ForwardContext ctx = training_context();
  for (const std::int64_t above : passes) {
    choose(small, above);
    pass(small, ctx);
  }
  CHECK(lambda_of(small) == before);
  ctx.observed.end_step(0);
  return lambda_of(small);
}

}  // namespace

TEST_CASE("remoe: a token runs on the experts whose score is above 0, at most cap, weighed by their scores") {
  for (const std::size_t cap : {0, 1, 2, 3, 9})
    for (const bool training : {false, true}) {
      CAPTURE(cap);
      SmallLayer small(options_of(Variant::paper, 2, static_cast<std::int64_t>(cap)));
      Tensor x = draw({kTokens, kDim}, "x");
      x.slice0(3, 4).fill(0.0);  // scores of 0 choose nobody
      nn::ForwardContext ctx;
      ctx.training = training;
      const RouterOutput route = small.layer.router().route(Variable(x), small.layer.experts(), ctx);
      const std::size_t most = cap == 0 ? kExperts : cap;
      const Expected expected(rows_of(x), rows_of(small.parameter("moe.router.weight").value()), most, 2);
      const Rows weights = rows_of(route.weights.value()), experts = rows_of(route.experts);
      CHECK(weights.front().size() == std::min(most, kExperts));
      for (std::size_t t = 0; t < kTokens; ++t) {
        std::vector<double> full(kExperts, 0.0);
        for (std::size_t j = 0; j < weights[t].size(); ++j) {
          CHECK((experts[t][j] >= 0.0) == (weights[t][j] > 0.0));
          CHECK((j == 0 || weights[t][j] <= weights[t][j - 1]));
          if (experts[t][j] >= 0.0) full[static_cast<std::size_t>(experts[t][j])] += weights[t][j];
        }
        check_close({full}, {expected.weights[t]}, 1.0);
      }
      const Rows y = rows_of(small.layer.forward(Variable(x), ctx).value());
      CHECK(y[3] == std::vector<double>(kDim, 0.0));  // the residual carries it
      CHECK(y[0] != std::vector<double>(kDim, 0.0));
    }
}

TEST_CASE("remoe: a score that is NaN is seen in what the layer gives") {
  SmallLayer small(options_of(Variant::paper));
  small.parameter("moe.router.weight").value().fill(std::nan(""));
  nn::ForwardContext ctx;
  CHECK(std::isnan(
      small.layer.forward(Variable(draw({kTokens, kDim}, "x")), ctx).value().to_vector<double>()[0]));
}

TEST_CASE("remoe: the L1 loss of a layer, its share in the sum, and its gradients") {
  for (const Variant variant : {Variant::paper, Variant::reference})
    for (const std::int64_t k : {1, 2})
      for (const std::int64_t cap : {0, 2})
        for (const std::int64_t layers : {1, 3}) {
          CAPTURE(k);
          CAPTURE(cap);
          CAPTURE(layers);
          SmallLayer small(options_of(variant, k, cap), DType::f64, site_of(layers));
          const Variable x(draw({kTokens, kDim}, "x"), true);
          const Variable w = small.parameter("moe.router.weight");
          const Expected expected(rows_of(x.value()), rows_of(w.value()),
                                  cap == 0 ? kExperts : static_cast<std::size_t>(cap), k);
          const double share = variant == Variant::paper ? 1.0 / static_cast<double>(layers) : 1.0;
          nn::ForwardContext ctx = training_context();
          Tape tape;
          small.layer.forward(x, ctx);
          REQUIRE(ctx.losses.terms().size() == 1);
          const nn::LossTerm& term = ctx.losses.terms().front();
          CHECK(term.name == "sparsity");
          CHECK(term.where == "moe.router");
          CHECK(term.weight == doctest::Approx(share).epsilon(1e-15));
          CHECK(expected.loss > 0.0);
          CHECK(term.value.value().item() == doctest::Approx(expected.loss).epsilon(1e-12));
          tape.backward(ctx.losses.total());
          check_close(rows_of(w.grad()), expected.dw, share);
          check_close(rows_of(x.grad()), expected.dx, share);
        }
}

TEST_CASE(
    "remoe: an inactive pair gets no gradient from the task, an active one that of its expert's output") {
  SmallLayer small(options_of(Variant::paper));
  const Variable x(draw({kTokens, kDim}, "x")), w = small.parameter("moe.router.weight");
  const Expected expected(rows_of(x.value()), rows_of(w.value()), kExperts, 2);
  const Rows inputs = rows_of(x.value());
  Tape tape;
  nn::ForwardContext ctx = training_context();
  const RouterOutput route = small.layer.router().route(x, small.layer.experts(), ctx);
  const Tensor slope = draw(route.weights.shape(), "what the experts say");
  tape.backward(route.weights, slope);
  Rows dw(kExperts, std::vector<double>(kDim, 0.0));
  const Rows experts = rows_of(route.experts), slopes = rows_of(slope);
  for (std::size_t t = 0; t < kTokens; ++t)
    for (std::size_t j = 0; j < kExperts; ++j)
      for (std::size_t d = 0; experts[t][j] >= 0.0 && d < kDim; ++d)
        dw[static_cast<std::size_t>(experts[t][j])][d] += slopes[t][j] * inputs[t][d];
  check_close(rows_of(w.grad()), dw, 1.0);
}

TEST_CASE("remoe: lambda grows where more choices were made than wanted, and shrinks where fewer were") {
  for (const Variant variant : {Variant::paper, Variant::reference}) {
    MoeOptions options = options_of(variant, 2);
    CHECK(lambda_after(options, {3}) == doctest::Approx(kLambda * 1.2).epsilon(1e-15));
    CHECK(lambda_after(options, {1}) == doctest::Approx(kLambda / 1.2).epsilon(1e-15));
    CHECK(lambda_after(options, {0}) == doctest::Approx(kLambda / 1.2).epsilon(1e-15));
    options.set("remoe.multiplier", 3.0);
    CHECK(lambda_after(options, {4}) == doctest::Approx(kLambda * 3.0).epsilon(1e-15));
  }
}

TEST_CASE("remoe: on target the paper leaves lambda, the published code divides it") {
  CHECK(lambda_after(options_of(Variant::paper), {2}) == kLambda);
  CHECK(lambda_after(options_of(Variant::reference), {2}) == doctest::Approx(kLambda / 1.2).epsilon(1e-15));
}

TEST_CASE("remoe: lambda moves once per step, by the choices of all its micro-batches together") {
  const MoeOptions options = options_of(Variant::paper);
  CHECK(lambda_after(options, {4, 1, 1}) == kLambda);  // 6 of 6
  CHECK(lambda_after(options, {4, 1, 2}) == doctest::Approx(kLambda * 1.2).epsilon(1e-15));
  CHECK(lambda_after(options, {1, 1, 3}) == doctest::Approx(kLambda / 1.2).epsilon(1e-15));
}

TEST_CASE("remoe: the layers have one lambda, by the choices of all of them together") {
  for (const Variant variant : {Variant::paper, Variant::reference})
    for (const auto& [first, second, factor] : {std::tuple{4, 1, 1.2}, {3, 0, 1.0 / 1.2}}) {
      const SmallLayer a(options_of(variant)), b(options_of(variant));
      choose(a, first);
      choose(b, second);
      nn::ForwardContext ctx = training_context();
      pass(a, ctx);
      pass(b, ctx);
      ctx.observed.end_step(0);
      CHECK(lambda_of(a) == doctest::Approx(kLambda * factor).epsilon(1e-15));
      CHECK(lambda_of(b) == lambda_of(a));
    }
}

TEST_CASE("remoe: the loss of a step is that of lambda before it, the next step's of the one after it") {
  const SmallLayer small(options_of(Variant::paper));
  choose(small, 4);
  const auto loss = [&] {
    nn::ForwardContext ctx = training_context();
    pass(small, ctx);
    const double value = ctx.losses.terms().front().value.value().item();
    ctx.observed.end_step(0);
    return value;
  };
  const double first = loss();
  CHECK(first == doctest::Approx(kLambda * 4.0 * 2.0 * 0.5));  // f = 2, all weights 0.5
  CHECK(loss() == doctest::Approx(1.2 * first));
}

TEST_CASE("remoe: lambda stays in evaluation, without the end of a step, and where it is held") {
  SmallLayer small(options_of(Variant::paper));
  choose(small, 4);
  nn::ForwardContext evaluation, training = training_context();
  pass(small, evaluation);
  evaluation.observed.end_step(0);
  CHECK(evaluation.losses.terms().empty());
  pass(small, training);
  CHECK(lambda_of(small) == kLambda);

  MoeOptions held = options_of(Variant::paper);
  held.set("remoe.hold", true);
  CHECK(lambda_after(held, {4}) == kLambda);
  const SmallLayer other(held);
  nn::ForwardContext ctx = training_context();
  pass(other, ctx);
  CHECK(ctx.losses.terms().size() == 1);  // its loss is there all the same
}

TEST_CASE("remoe: lambda keeps within its limits") {
  MoeOptions options = options_of(Variant::paper);
  CHECK(lambda_after(options.set("remoe.lambda0", 9.9e3), {4}) == 1e4);
  CHECK(lambda_after(options.set("remoe.lambda0", 1.1e-12), {1}) == 1e-12);
}

TEST_CASE("remoe: lambda comes back from a checkpoint") {
  const SmallLayer first(options_of(Variant::paper));
  choose(first, 4);
  nn::ForwardContext ctx = training_context();
  pass(first, ctx);
  ctx.observed.end_step(0);
  std::vector<NamedTensor> saved = first.store.buffers();
  for (const nn::Parameter& parameter : first.store.parameters())
    saved.push_back({parameter.variable.name(), parameter.variable.value()});
  nn::ParameterStore store(8, DType::f64);
  store.preload(saved);
  const MoeLayer second(nn::Scope(store, "moe"), options_of(Variant::paper), kSite);
  CHECK(store.load_report().initialised.empty());
  nn::ForwardContext next = training_context();
  second.forward(Variable(Tensor::full({1, kTokens, kDim}, 1.0, DType::f64)), next);
  CHECK(next.losses.terms().front().value.value().item() == doctest::Approx(1.2 * kLambda * 4.0));
}

TEST_CASE("remoe: metrics say how many experts tokens have, over the passes of a step") {
  const SmallLayer small(options_of(Variant::paper));
  nn::Metrics metrics;
  nn::Observations observed;
  for (const std::int64_t above : {3, 0}) {
    choose(small, above);
    nn::ForwardContext ctx = training_context();
    ctx.collect_metrics = true;
    pass(small, ctx);
    if (metrics.empty())
      metrics = ctx.metrics;
    else
      metrics.merge(ctx.metrics);
  }
  const std::map<std::string, double> values = metrics.read();
  CHECK(values.at("moe.router/sparsity") == doctest::Approx(0.625));  // 1/4 and 1
  CHECK(values.at("moe.router/lambda") == kLambda);
  CHECK(values.at("moe.router/most_experts") == 3.0);
  CHECK(values.at("moe.router/without_expert") == doctest::Approx(0.5));
  nn::ForwardContext silent = training_context();
  pass(small, silent);
  CHECK(silent.metrics.empty());
}

TEST_CASE("remoe: in a decoder the paper's loss is the mean over the sublayers with experts") {
  nn::DecoderOptions model;
  model.vocab = 11;
  model.dim = 8;
  model.attention.heads = 2;
  model.layers = 2;
  model.pattern = "sgsfg";
  model.max_length = 6;
  model.dense.hidden = 12;
  for (const Variant variant : {Variant::paper, Variant::reference}) {
    nn::ParameterStore store(3);
    const nn::Decoder decoder(nn::Scope(store), model, feed_forward_factory(options_of(variant)));
    const Tensor tokens = Tensor::full({2, 6}, 3, DType::i32);
    nn::ForwardContext ctx = training_context();
    decoder.loss(tokens, tokens, ctx);
    REQUIRE(ctx.losses.terms().size() == 4);
    for (const nn::LossTerm& term : ctx.losses.terms())
      CHECK(term.weight == (variant == Variant::paper ? 0.25 : 1.0));
  }
}

TEST_CASE("remoe: no weight of 0, no multiplier of 1, no loss that pulls on a softmax of its scores") {
  const auto refused = [](const std::string& key, const nn::FieldValue& value) {
    MoeOptions options = options_of(Variant::paper);
    options.set(key, value);
    validate(options);
  };
  for (const double lambda0 : {0.0, 2e4})
    CHECK_THROWS_WITH_AS(refused("remoe.lambda0", lambda0), doctest::Contains("remoe.lambda0"), UserError);
  CHECK_THROWS_WITH_AS(refused("remoe.multiplier", 1.0), doctest::Contains("remoe.multiplier"), UserError);
  CHECK_THROWS_WITH_AS(refused("moe.balance", std::string("first_choice")), doctest::Contains("moe.balance"),
                       UserError);
  CHECK_THROWS_WITH_AS(refused("moe.capacity_factor", 1.0), doctest::Contains("moe.capacity_factor"),
                       UserError);
  MoeOptions weighed = options_of(Variant::paper);
  weighed.balance_weight = weighed.z_weight = 1.0;
  const SmallLayer small(weighed);
  nn::ForwardContext ctx = training_context();
  pass(small, ctx);
  CHECK(ctx.losses.names() == std::set<std::string>{"sparsity"});
}

TEST_CASE("remoe: a multiplier that is not read is named") {
  const auto idle = [](bool hold) {
    MoeOptions options = options_of(Variant::paper), defaults;
    options.set("remoe.multiplier", 1.5).set("remoe.hold", hold);
    nn::FieldList list, standard;
    options.sections(list);
    defaults.sections(standard);
    const std::vector<std::string> lines = nn::idle_options(list, standard);
    return std::ranges::find(lines, "remoe.multiplier (remoe.hold = true)") != lines.end();
  };
  CHECK(idle(true));
  CHECK_FALSE(idle(false));
}

}  // namespace simsmoe::moe
