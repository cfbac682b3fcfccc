// What routers keep from one pass to the next, and what only they can promise.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "ops/binary.hpp"
#include "ops/reduce.hpp"
#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

MoeOptions options_of(const std::string& router, std::int64_t k = 2) {
  MoeOptions options = small_options();
  options.router = router;
  options.k = k;
  options.k_schedule.shape = KShape::none;
  return options;
}

Tensor buffer(const SmallLayer& small, const std::string& name) {
  return std::ranges::find(small.store.buffers(), name, &NamedTensor::name)->tensor;
}

std::vector<double> output(SmallLayer& small, nn::ForwardContext ctx) {
  const Variable y = small.layer.forward(Variable(draw({1, 9, SmallLayer::kDim}, "x")), ctx);
  ctx.observed.end_step(ctx.step);
  return y.value().to_vector<double>();
}

// Scores tokens as the plain router does, and then sends them nowhere.
class UndecidedRouter : public Router {
 public:
  UndecidedRouter(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site)
      : inner_(make_router(scope, options, site)) {}

  RouterOutput route(const Variable& x, const Experts& experts, nn::ForwardContext& ctx) const override {
    RouterOutput out = inner_->route(x, experts, ctx);
    out.experts = Tensor::full(out.experts.shape(), -1, DType::i32);
    return out;
  }
  nn::Account account() const override { return inner_->account(); }

 private:
  std::unique_ptr<Router> inner_;
};

}  // namespace

TEST_CASE("a router that chooses nothing: the output is 0, gradients are 0, no pair of experts is due") {
  for (const std::int64_t k : {1, 2}) {
    MoeOptions options = options_of("smoe", k);
    options.z_weight = 0.0;
    options.similarity.enabled = true;
    options.similarity.frequency = 0.0;
    options.custom_router.make = [](const nn::Scope& scope, MoeOptions o, const nn::Site& site) {
      o.custom_router = {};
      return std::make_unique<UndecidedRouter>(scope, o, site);
    };
    SmallLayer small(options);
    const Variable x(draw({1, 9, SmallLayer::kDim}, "x"), true, "x");
    nn::ForwardContext ctx = training_context();
    Tape tape;
    const Variable y = small.layer.forward(x, ctx);
    CHECK(y.value().to_vector<double>() == std::vector<double>(45, 0.0));
    tape.backward(ops::add(ops::sum(y), ctx.losses.total()));
    CHECK(x.grad().to_vector<double>() == std::vector<double>(45, 0.0));
    for (const Variable& parameter : small.parameters())
      if (parameter.grad().defined())
        for (const double g : parameter.grad().to_vector<double>()) CHECK(g == 0.0);
    CHECK(buffer(small, "moe.similarity.counters").to_vector<double>() == std::vector<double>(6, 0.0));
  }
}

TEST_CASE("hyper: the router is generated once for an inference, and anew for training and for a gradient") {
  SmallLayer small(options_of("hyper"));
  const Variable x(draw({1, 9, SmallLayer::kDim}, "x"));
  nn::ForwardContext inference;
  const auto of = [&](nn::ForwardContext& ctx) {
    return small.layer.forward(x, ctx).value().to_vector<double>();
  };
  const std::vector<double> before = of(inference);
  const Variable embedding = small.parameter("moe.router.embedding");
  embedding.value().copy_from(draw(embedding.shape(), "another embedding", 3.0));
  nn::ForwardContext training = training_context(), fresh;
  CHECK(of(training) != before);
  CHECK(training.memo.size() == 0);
  CHECK(of(fresh) == of(training));
  CHECK(of(inference) == of(fresh));  // what was kept is of parameters that are no more
  CHECK(inference.memo.size() == 1);
  Tape tape;  // a gradient in evaluation: nothing may come from what is kept
  tape.backward(ops::sum(small.layer.forward(x, inference)));
  CHECK(embedding.grad().defined());
}

TEST_CASE("loss_free: the bias moves against the load, by its rate, in training only") {
  MoeOptions options = options_of("loss_free", 1);
  options.set("loss_free.rate", 0.25);
  SmallLayer small(options);
  const Variable bias = small.parameter("moe.router.bias");
  bias.set_value(Tensor::from(std::vector<double>{0, 0, 100, 0}, {4}));
  output(small, {});
  CHECK(buffer(small, "moe.router.selection_bias").to_vector<double>() == std::vector<double>{0, 0, 0, 0});
  output(small, training_context());
  CHECK(buffer(small, "moe.router.selection_bias").to_vector<double>() ==
        std::vector<double>{0.125, 0.125, -0.375, 0.125});
}

TEST_CASE("loss_free: one step of the bias from the loads of all micro-batches, with the mean kept at 0") {
  MoeOptions options = options_of("loss_free", 1);
  options.set("loss_free.rate", 0.0625);
  SmallLayer small(options);
  const Variable bias = small.parameter("moe.router.bias");
  const Variable x(draw({1, 8, SmallLayer::kDim}, "x"));
  nn::ForwardContext ctx = training_context();
  for (const int favourite : {2, 0, 2}) {  // loads 8, 0, 16, 0: the mean is 6
    std::vector<double> scores(4, 0.0);
    scores[static_cast<std::size_t>(favourite)] = 100.0;
    bias.set_value(Tensor::from(scores, {4}));
    small.layer.forward(x, ctx);
  }
  const Tensor selection_bias = buffer(small, "moe.router.selection_bias");
  CHECK(selection_bias.to_vector<double>() == std::vector<double>(4, 0.0));
  ctx.observed.end_step(0);
  CHECK(selection_bias.to_vector<double>() == std::vector<double>{-0.0625, 0.0625, -0.0625, 0.0625});
  nn::ForwardContext next =
      training_context();  // now 2 alone: 0, 0, 8, 0 moves by {1, 1, -1, 1} / 16 less their mean
  small.layer.forward(x, next);
  next.observed.end_step(1);
  CHECK(selection_bias.to_vector<double>() == std::vector<double>{-0.03125, 0.09375, -0.15625, 0.09375});
}

TEST_CASE("loss_free: the bias evens out the load, and weighs nothing") {
  MoeOptions options = options_of("loss_free", 1);
  options.set("loss_free.rate", 0.01);
  SmallLayer small(options);
  small.parameter("moe.router.bias").set_value(Tensor::from(std::vector<double>{0, 0, 1, 0}, {4}));
  const Variable x(draw({1, 64, SmallLayer::kDim}, "many"));
  const auto largest_share = [&] {
    nn::ForwardContext ctx;
    ctx.collect_metrics = true;
    small.layer.forward(x, ctx);
    return ctx.metrics.read().at("moe/load_max");
  };
  const double before = largest_share();
  for (int pass = 0; pass < 100; ++pass) {
    nn::ForwardContext ctx = training_context();
    small.layer.forward(x, ctx);
    ctx.observed.end_step(ctx.step);
  }
  CHECK(before > 0.7);
  CHECK(largest_share() < 0.35);
  nn::ForwardContext ctx;
  const RouterOutput route =
      small.layer.router().route(Variable(x.value().view({64, 5})), small.layer.experts(), ctx);
  const auto logits = route.logits.value().to_vector<double>(),
             weights = route.weights.value().to_vector<double>();
  const auto experts = route.experts.to_vector<int>();
  for (std::size_t t = 0; t < 64; ++t)
    CHECK(weights[t] ==
          doctest::Approx(1.0 / (1.0 + std::exp(-logits[4 * t + static_cast<std::size_t>(experts[t])]))));
}

TEST_CASE("expert_choice: all experts take equally many tokens") {
  for (const std::int64_t k : {1, 2, 4})
    for (const std::int64_t n : {1, 3, 9, 64}) {
      CAPTURE(k);
      CAPTURE(n);
      SmallLayer small(options_of("expert_choice", k));
      nn::ForwardContext ctx = training_context();
      const Variable x(draw({n, SmallLayer::kDim}, "x"));
      const RouterOutput route = small.layer.router().route(x, small.layer.experts(), ctx);
      const std::int64_t each = std::min(n, (n * k + 3) / 4);
      CHECK(make_plan(route.experts, 4).counts.to_vector<std::int64_t>() ==
            std::vector<std::int64_t>(4, each));
    }
}

TEST_CASE("expert_choice: of equal tokens the earlier ones are taken") {
  SmallLayer small(options_of("expert_choice"));
  nn::ForwardContext ctx;
  const Variable equal(Tensor::full({6, SmallLayer::kDim}, 0.5, DType::f64));
  const auto choice = small.layer.router().route(equal, small.layer.experts(), ctx).experts.to_vector<int>();
  for (std::size_t t = 0; t < 6; ++t)  // each expert takes 6 * 2 / 4 tokens
    for (int e = 0; e < 4; ++e) CHECK(choice[t * 4 + static_cast<std::size_t>(e)] == (t < 3 ? e : -1));
}

TEST_CASE("compete: the experts compete without dropout") {
  MoeOptions options = options_of("compete");
  options.set("compete.rate", 1.0);
  options.set("compete.warmup", 0.0);
  options.dropout = 0.5;
  SmallLayer small(options);
  const Variable x(draw({9, SmallLayer::kDim}, "x"));
  const auto weights_at_draw = [&](std::uint64_t number) {
    nn::ForwardContext ctx = training_context();
    ctx.draw = number;
    return small.layer.router().route(x, small.layer.experts(), ctx).weights.value().to_vector<double>();
  };
  CHECK(weights_at_draw(0) == weights_at_draw(1));
}

TEST_CASE("compete: the experts compete in the dtype of the pass") {
  MoeOptions options = options_of("compete");
  options.set("compete.rate", 1.0);
  options.set("compete.warmup", 0.0);
  SmallLayer small(options, DType::f32);
  const Variable x(draw({9, SmallLayer::kDim}, "x", 1.0, DType::f32));
  const auto weights_in = [&](DType dtype) {
    nn::ForwardContext ctx = training_context();
    ctx.compute_dtype = dtype;
    return small.layer.router().route(x, small.layer.experts(), ctx).weights.value().to_vector<double>();
  };
  const std::vector<double> exact = weights_in(DType::f32), rounded = weights_in(DType::bf16);
  CHECK(rounded != exact);
  for (std::size_t i = 0; i < exact.size(); ++i) CHECK(rounded[i] == doctest::Approx(exact[i]).epsilon(0.02));
}

TEST_CASE("stablemoe: stage 2 begins at its step, is saved, and is never left again") {
  const MoeOptions options = options_of("stablemoe");  // stage 1 is the first tenth of 100 steps
  const auto losses_at = [](SmallLayer& small, std::uint64_t step) {
    nn::ForwardContext ctx = training_context();
    ctx.step = step;
    ctx.token_ids = Tensor::from(std::vector<std::int32_t>{1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 9});
    small.layer.forward(Variable(draw({1, 9, SmallLayer::kDim}, "x")), ctx);
    ctx.observed.end_step(step);
    return ctx.losses.terms().size();
  };
  SmallLayer small(options);
  nn::ForwardContext evaluation;
  evaluation.step = 50;
  evaluation.token_ids = Tensor::from(std::vector<std::int32_t>{1}, {1, 1});
  small.layer.forward(Variable(draw({1, 1, SmallLayer::kDim}, "x")), evaluation);
  CHECK(losses_at(small, 9) == 2);
  CHECK(buffer(small, "moe.router.stage").to_vector<int>() == std::vector<int>{1});
  CHECK(losses_at(small, 10) == 0);
  CHECK(buffer(small, "moe.router.stage").to_vector<int>() == std::vector<int>{2});
  CHECK(losses_at(small, 0) == 0);  // as after loading into a training that counts from 0

  MoeOptions long_stage = options;
  long_stage.set("stablemoe.stage1", 1.0);
  SmallLayer always_first(long_stage);
  CHECK(losses_at(always_first, 99) == 2);
}

TEST_CASE("compete: version 1 weighs by a softmax over the winners, whatever moe.router_order says") {
  MoeOptions options = options_of("compete");
  options.set("compete.version", 1);
  options.set("compete.schedule", "bernoulli");
  options.set("compete.rate", 1.0);
  options.router_order = SelectionOrder::softmax_topk;
  SmallLayer small(options);
  nn::ForwardContext ctx = training_context();
  const Variable x(draw({9, SmallLayer::kDim}, "x"));
  const auto weights =
      small.layer.router().route(x, small.layer.experts(), ctx).weights.value().to_vector<double>();
  for (std::size_t t = 0; t < 9; ++t) CHECK(weights[2 * t] + weights[2 * t + 1] == doctest::Approx(1.0));
}

TEST_CASE("compete: responses that are all 0 give weights of 0, not NaN") {
  MoeOptions options = options_of("compete");
  options.set("compete.rate", 1.0);
  options.set("compete.warmup", 0.0);
  options.set("compete.response", "relu");
  SmallLayer small(options);
  small.parameter("moe.experts.down").value().fill(0.0);
  small.parameter("moe.experts.down_bias").value().fill(-1.0);
  nn::ForwardContext ctx = training_context();
  const Variable x(draw({3, SmallLayer::kDim}, "x"));
  CHECK(small.layer.router().route(x, small.layer.experts(), ctx).weights.value().to_vector<double>() ==
        std::vector<double>(6, 0.0));
}

TEST_CASE("xmoe: scores are cosines over the temperature, which is never below 1e-4") {
  SmallLayer small(options_of("xmoe"));
  const auto logits_at = [&](double tau) {
    small.parameter("moe.router.temperature").value().fill(tau);
    nn::ForwardContext ctx;
    const Variable x(draw({9, SmallLayer::kDim}, "x"));
    return small.layer.router().route(x, small.layer.experts(), ctx).logits.value().to_vector<double>();
  };
  const auto cosines = logits_at(1.0), divided = logits_at(1e-3), clamped = logits_at(0.0);
  for (std::size_t i = 0; i < cosines.size(); ++i) {
    CHECK(std::abs(cosines[i]) <= 1.0);
    CHECK(divided[i] == doctest::Approx(cosines[i] * 1e3).epsilon(1e-9));
    CHECK(clamped[i] == doctest::Approx(cosines[i] * 1e4).epsilon(1e-9));
  }
}

TEST_CASE("sigmoid: the larger score wins where both sigmoids are 1, and where all are 0 nothing is NaN") {
  for (const double score : {30.0, -1e4}) {
    SmallLayer small(options_of("sigmoid"), DType::f32);
    small.parameter("moe.router.weight").value().fill(0.0);
    small.parameter("moe.router.bias")
        .set_value(
            Tensor::from(std::vector<double>{score, score + 1, score + 3, score + 2}, {4}).to(DType::f32));
    nn::ForwardContext ctx = training_context();
    const Variable x(draw({2, SmallLayer::kDim}, "x", 1.0, DType::f32));
    const RouterOutput route = small.layer.router().route(x, small.layer.experts(), ctx);
    CHECK(route.experts.to_vector<int>() == std::vector<int>{2, 3, 2, 3});
    for (const Variable& values : {route.weights, route.probabilities})
      for (const double value : values.value().to_vector<double>()) CHECK(std::isfinite(value));
  }
}

TEST_CASE("hash: a word always goes to the same different experts, by a table that is saved") {
  SmallLayer small(options_of("hash", 3));
  const Tensor table = buffer(small, "moe.router.table");
  REQUIRE(table.shape() == Shape{50, 3});
  nn::ForwardContext ctx;
  ctx.token_ids = Tensor::from(std::vector<std::int32_t>{7, 0, 7, 49}, {4});
  const RouterOutput route =
      small.layer.router().route(Variable(draw({4, SmallLayer::kDim}, "x")), small.layer.experts(), ctx);
  const auto rows = table.to_vector<int>(), chosen = route.experts.to_vector<int>();
  const std::size_t words[] = {7, 0, 7, 49};
  for (std::size_t i = 0; i < 12; ++i) CHECK(chosen[i] == rows[words[i / 3] * 3 + i % 3]);
  std::vector<int> load(4, 0);
  for (const int e : rows) ++load[static_cast<std::size_t>(e)];
  for (const int words_of_expert : load) CHECK(words_of_expert > 25);  // 37.5 on average

  nn::ParameterStore other(99, DType::f64);  // another seed would draw another table
  other.require_preloaded(false);
  other.preload({{"moe.router.table", table}});
  const MoeLayer loaded(nn::Scope(other, "moe"), options_of("hash", 3), kSite);
  CHECK(other.buffers()[0].tensor.to_vector<int>() == rows);
  nn::ParameterStore drawn(99, DType::f64);
  const MoeLayer fresh(nn::Scope(drawn, "moe"), options_of("hash", 3), kSite);
  CHECK(drawn.buffers()[0].tensor.to_vector<int>() != rows);
}

}  // namespace simsmoe::moe
