// Which pairs are compared when, on which tokens, and whom the loss teaches.
#include "moe/similarity_learning.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "ops/binary.hpp"
#include "ops/reduce.hpp"
#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

constexpr std::int64_t kDim = 5;

MoeOptions similarity_options(std::int64_t experts = 4) {
  MoeOptions options = small_options();
  options.experts = experts;
  options.similarity.enabled = true;
  options.similarity.frequency = 0.0;   // every pair that is met
  options.similarity.threshold = -1.0;  // whatever the likeness
  return options;
}

// Similarity learning with experts, fed with choices by hand.
struct Learner {
  explicit Learner(const MoeOptions& options)
      : store(3, DType::f64),
        count(options.experts),
        experts(nn::Scope(store, "experts"), options, kSite),
        similarity(nn::Scope(store, "similarity"), options, kDim) {
    for (const char* name : {"experts.up_bias", "experts.down_bias"}) {
      const Variable bias = store.find(name)->variable;
      bias.set_value(draw(bias.shape(), name, 0.5));
    }
  }

  // One training step with one pass, in which token t chooses row t of `choices`.
  // `outputs`: what the layer is said to have computed; undefined: what its experts give.
  nn::ForwardContext learn(const Tensor& choices, std::uint64_t draw_number = 0, const Variable& logits = {},
                           const Variable& outputs = {}, double capacity_factor = 0.0) {
    nn::ForwardContext ctx = training_context();
    ctx.draw = draw_number;
    pass(ctx, choices, logits, outputs, capacity_factor);
    ctx.observed.end_step(ctx.step);
    return ctx;
  }

  // One pass of a step.
  void pass(nn::ForwardContext& ctx, const Tensor& choices, const Variable& logits = {},
            const Variable& outputs = {}, double capacity_factor = 0.0) {
    const std::int64_t n = choices.size(0);
    const Variable tokens(draw({n, kDim}, "tokens"), true, "tokens");
    const Variable weights(draw(choices.shape(), "weights"), true, "weights");
    const RouterOutput route{.weights = weights, .experts = choices, .logits = logits};
    const DispatchPlan plan = make_plan(choices, count, capacity_factor);
    const Variable h =
        experts.forward(ops::gather_tokens(tokens, plan.partition), plan.partition.offsets, ctx);
    similarity.learn(tokens, route, plan, outputs.defined() ? outputs : h, experts, "moe", ctx);
    last_tokens = tokens;
    last_weights = weights;
  }

  std::vector<double> counters() const { return buffer("similarity.counters"); }
  double checks() const { return buffer("similarity.last")[3]; }
  double compared_tokens() const { return buffer("similarity.last")[1]; }
  std::vector<double> buffer(const std::string& name) const {
    return std::ranges::find(store.buffers(), name, &NamedTensor::name)->tensor.to_vector<double>();
  }

  nn::ParameterStore store;
  std::int64_t count;
  Experts experts;
  SimilarityLearning similarity;
  Variable last_tokens, last_weights;
};

// All n tokens choose these experts.
Tensor all_choose(std::int64_t n, const std::vector<std::int32_t>& experts) {
  std::vector<std::int32_t> choices;
  for (std::int64_t t = 0; t < n; ++t) choices.insert(choices.end(), experts.begin(), experts.end());
  return Tensor::from(choices, {n, static_cast<std::int64_t>(experts.size())});
}

double similarity_loss(const nn::ForwardContext& ctx) {
  return ctx.losses.terms().empty() ? 0.0 : ctx.losses.terms()[0].value.value().item();
}

}  // namespace

TEST_CASE("similarity counters: shares of the batch, in order of the pairs") {
  MoeOptions options = similarity_options(3);
  options.similarity.frequency = 100.0;
  Learner learner(options);
  learner.learn(Tensor::from(std::vector<std::int32_t>{0, 1, 1, 0, 2, 1, 1, -1}, {4, 2}));
  CHECK(learner.counters() == std::vector<double>{0.5, 0.0, 0.25});  // 01, 02, 12
  learner.learn(all_choose(4, {2, 0}));
  CHECK(learner.counters() == std::vector<double>{0.5, 1.0, 0.25});
}

TEST_CASE(
    "similarity counters: a pair is due when it has met more than f* batches' worth, and starts again") {
  MoeOptions options = similarity_options(2);
  options.similarity.frequency = 2.5;
  Learner learner(options);
  for (int pass = 1; pass <= 9; ++pass) {
    const nn::ForwardContext ctx = learner.learn(all_choose(8, {0, 1}));
    CAPTURE(pass);
    CHECK(learner.checks() == pass / 3);  // 1, 2, 3 > 2.5
    CHECK(learner.counters()[0] == pass % 3);
    CHECK(ctx.losses.terms().size() == (pass % 3 == 0 ? 1 : 0));
  }
}

TEST_CASE(
    "similarity counters: a later pass of a step goes on from the earlier ones, and the owner writes them "
    "down") {
  MoeOptions options = similarity_options(2);
  options.similarity.frequency = 2.5;
  Learner in_steps(options), in_one(options);
  nn::ForwardContext ctx = training_context();
  for (int pass = 1; pass <= 7; ++pass) {
    in_one.pass(ctx, all_choose(8, {0, 1}));
    CAPTURE(pass);
    CHECK(ctx.losses.terms().size() == static_cast<std::size_t>(pass / 3));
    in_one.similarity.add_metrics("moe", ctx);
    CHECK(ctx.metrics.read().at("moe/similarity_checks") == pass / 3);  // of the passes so far
    in_steps.learn(all_choose(8, {0, 1}));
  }
  CHECK(in_one.counters()[0] == 0.0);
  CHECK(in_one.checks() == 0.0);
  ctx.observed.end_step(0);
  CHECK(in_one.counters() == in_steps.counters());
  CHECK(in_one.buffer("similarity.last") == in_steps.buffer("similarity.last"));
}

TEST_CASE("similarity counters: a pair with too few tokens is skipped, and starts again all the same") {
  MoeOptions options = similarity_options(2);
  options.similarity.min_tokens = 6;
  Learner learner(options);
  CHECK(learner.learn(all_choose(5, {0, 1})).losses.terms().empty());
  CHECK(learner.counters()[0] == 0.0);
  CHECK(learner.learn(all_choose(6, {0, 1})).losses.terms().size() == 1);
}

TEST_CASE("similarity: the loss has its name, its place and its weight, above the threshold only") {
  MoeOptions options = similarity_options();
  options.similarity.beta = 0.125;
  Learner learner(options);
  const nn::ForwardContext ctx = learner.learn(all_choose(8, {0, 1}));
  REQUIRE(ctx.losses.terms().size() == 1);
  CHECK(ctx.losses.terms()[0].name == "similarity");
  CHECK(ctx.losses.terms()[0].where == "moe");
  CHECK(ctx.losses.terms()[0].weight == 0.125);

  options.similarity.threshold = 0.5 * (1.0 + similarity_loss(ctx));
  Learner strict(options);
  const nn::ForwardContext without = strict.learn(all_choose(8, {0, 1}));
  CHECK(without.losses.terms().empty());
  CHECK(without.losses.names() == std::set<std::string>{"similarity"});  // reported all the same, as 0
  CHECK(strict.checks() == 1);
}

TEST_CASE("similarity: of too many tokens every layer takes a part of its own, another one in each pass") {
  for (const std::int64_t most : {6, 40}) {
    MoeOptions options = similarity_options();
    options.similarity.max_tokens = most;
    Learner learner(options);
    const SimilarityLearning other(nn::Scope(learner.store, "other"), options, kDim);
    for (const char* name : {"projection.weight", "projection.bias"})
      learner.store.find(std::string("other.") + name)
          ->variable.set_value(learner.store.find(std::string("similarity.") + name)->variable.value());
    const auto likeness_at = [&](const SimilarityLearning& similarity, std::uint64_t draw_number) {
      const Tensor choices = all_choose(40, {0, 1});
      nn::ForwardContext ctx = training_context();
      ctx.draw = draw_number;
      const Variable tokens(draw({40, kDim}, "tokens"));
      const DispatchPlan plan = make_plan(choices, 4, 0.0);
      const Variable h =
          learner.experts.forward(ops::gather_tokens(tokens, plan.partition), plan.partition.offsets, ctx);
      const RouterOutput route{.weights = {}, .experts = choices, .logits = {}};
      similarity.learn(tokens, route, plan, h, learner.experts, "moe", ctx);
      return similarity_loss(ctx);
    };
    const double first = likeness_at(learner.similarity, 0);
    CHECK(likeness_at(learner.similarity, 0) == first);
    CHECK((likeness_at(learner.similarity, 1) == first) == (most == 40));
    CHECK((likeness_at(other, 0) == first) == (most == 40));
  }
}

TEST_CASE("similarity, k = 3: all pairs of a token's experts") {
  MoeOptions options = similarity_options();
  options.similarity.frequency = 100.0;
  Learner learner(options);
  learner.learn(all_choose(4, {3, 0, 1}));
  CHECK(learner.counters() == std::vector<double>{1, 0, 1, 0, 1, 0});  // 01 02 03 12 13 23
  options.similarity.frequency = 0.0;
  Learner eager(options);
  eager.learn(all_choose(8, {3, 0, 1}));
  CHECK(eager.checks() == 3);
}

TEST_CASE("similarity, k = 1: the chosen expert is compared with the runner-up") {
  const Variable logits(Tensor::from(std::vector<double>{5, 1, 4, 0, 1, 2, 3, 9}, {2, 4}));
  RouterOutput route{
      .weights = {}, .experts = Tensor::from(std::vector<std::int32_t>{0, 3}, {2, 1}), .logits = logits};
  CHECK(compared_experts(route).to_vector<int>() == std::vector<int>{0, 2, 3, 2});
  route.experts =
      Tensor::from(std::vector<std::int32_t>{1, 3}, {2, 1});  // not by the logits: their best is compared
  CHECK(compared_experts(route).to_vector<int>() == std::vector<int>{1, 0, 3, 2});
  route.probabilities = logits;
  route.logits = {};
  CHECK(compared_experts(route).to_vector<int>() == std::vector<int>{1, 0, 3, 2});
  route.probabilities = {};
  CHECK_THROWS_AS(compared_experts(route), UserError);

  Learner learner(similarity_options());
  const nn::ForwardContext ctx = learner.learn(all_choose(8, {2}), 0, Variable(draw({8, 4}, "logits")));
  CHECK(learner.checks() >= 1);
  CHECK(ctx.losses.terms().size() == 1);
}

TEST_CASE("similarity: more tokens than max_tokens are sampled, by the draw alone") {
  MoeOptions options = similarity_options(2);
  options.similarity.max_tokens = 6;
  Learner one(options), same(options);
  const double loss = similarity_loss(one.learn(all_choose(40, {0, 1}), 3));
  CHECK(one.compared_tokens() == 6);
  CHECK(similarity_loss(same.learn(all_choose(40, {0, 1}), 3)) == loss);
  CHECK(similarity_loss(same.learn(all_choose(40, {0, 1}), 4)) != loss);
}

TEST_CASE("similarity: reuse_outputs decides on what is there, and gives the same losses without dropout") {
  for (const double threshold : {-1.0, 0.3, 0.9}) {
    MoeOptions options = similarity_options();
    options.similarity.threshold = threshold;
    Learner again(options);
    options.similarity.reuse_outputs = true;
    Learner reuse(options);
    for (const auto& chosen : {std::vector<std::int32_t>{0, 1}, {2, 1}, {3, 0}}) {
      const nn::ForwardContext a = again.learn(all_choose(12, chosen)),
                               b = reuse.learn(all_choose(12, chosen));
      CHECK(a.losses.terms().size() == b.losses.terms().size());
      CHECK(similarity_loss(a) == doctest::Approx(similarity_loss(b)).epsilon(1e-12));
    }
  }
}

TEST_CASE("similarity: reuse_outputs believes the layer that a pair is not alike, and remembers it") {
  MoeOptions options = similarity_options(2);
  options.init_alike = 1.0;
  options.similarity.threshold = 0.9;
  const Variable apart(draw({24, kDim}, "apart"));  // of experts that are in truth nearly equal
  Learner again(options);
  CHECK(again.learn(all_choose(12, {0, 1}), 0, {}, apart).losses.terms().size() == 1);
  options.similarity.reuse_outputs = true;
  Learner reuse(options);
  CHECK(reuse.learn(all_choose(12, {0, 1}), 0, {}, apart).losses.terms().empty());
  CHECK(reuse.checks() == 1);
  CHECK(reuse.buffer("similarity.last")[0] < 0.9);
}

TEST_CASE("similarity: reuse_outputs runs the experts again where copies were dropped") {
  MoeOptions options = similarity_options(2);
  options.similarity.threshold = 0.999999;
  std::vector<double> last[2];
  for (const bool reuse : {false, true}) {
    options.similarity.reuse_outputs = reuse;
    Learner learner(options);
    learner.learn(all_choose(8, {0, 1}), 0, {}, {}, 0.5);  // each expert takes the first four tokens
    last[reuse ? 1 : 0] = learner.buffer("similarity.last");
  }
  CHECK(last[0][1] == 8.0);
  CHECK(last[0] == last[1]);
}

TEST_CASE("similarity: f* and T* are exceeded, not reached") {
  MoeOptions options = similarity_options(2);
  options.similarity.frequency = 2.0;
  Learner counting(options);
  for (const double checks : {0.0, 0.0, 1.0}) {
    counting.learn(all_choose(8, {0, 1}));
    CHECK(counting.checks() == checks);
  }
  options.similarity.frequency = 0.0;
  Learner first(options);
  options.similarity.threshold = similarity_loss(first.learn(all_choose(8, {0, 1})));
  Learner equal(options);
  CHECK(equal.learn(all_choose(8, {0, 1})).losses.terms().empty());
}

TEST_CASE("similarity metrics: likeness, tokens and mean kernel of the last comparison") {
  MoeOptions options = similarity_options();
  options.similarity.kernel = KernelChoice::rbf;
  Learner learner(options);
  const nn::ForwardContext ctx = learner.learn(all_choose(8, {0, 1}));
  nn::ForwardContext later;
  learner.similarity.add_metrics("moe", later);
  const auto metrics = later.metrics.read();
  CHECK(metrics.at("moe/similarity_checks") == 1.0);
  CHECK(metrics.at("moe/similarity") == similarity_loss(ctx));
  CHECK(metrics.at("moe/similarity_tokens") == 8.0);
  CHECK(metrics.at("moe/similarity_kernel") > 0.01);
  CHECK(metrics.at("moe/similarity_kernel") < 0.99);
}

TEST_CASE("similarity: the gradient reaches both experts and the projection, and nothing else") {
  for (const bool reuse : {false, true}) {
    MoeOptions options = similarity_options();
    options.similarity.reuse_outputs = reuse;
    Learner learner(options);
    Tape tape;
    const nn::ForwardContext ctx = learner.learn(all_choose(8, {1, 3}));
    tape.backward(ctx.losses.total());
    CHECK(!learner.last_tokens.grad().defined());
    CHECK(!learner.last_weights.grad().defined());
    CHECK(learner.store.find("similarity.projection.weight")->variable.grad().defined());
    for (const char* name : {"experts.up", "experts.down", "experts.up_bias"}) {
      const Variable stack = learner.store.find(name)->variable;
      REQUIRE(stack.grad().defined());
      const std::vector<double> grad = stack.grad().to_vector<double>();
      const std::size_t one = grad.size() / 4;
      for (std::size_t e = 0; e < 4; ++e) {
        const auto begin = grad.begin() + static_cast<std::ptrdiff_t>(e * one);
        const bool taught =
            std::any_of(begin, begin + static_cast<std::ptrdiff_t>(one), [](double g) { return g != 0.0; });
        CHECK(taught == (e == 1 || e == 3));
      }
    }
  }
}

TEST_CASE("similarity in the layer: beside the task it adds nothing to the gradients of tokens and router") {
  const auto gradients = [](double beta) {
    MoeOptions options = similarity_options();
    options.similarity.beta = beta;
    SmallLayer small(options);
    const Variable x(draw({1, 12, SmallLayer::kDim}, "x"), true, "x");
    nn::ForwardContext ctx = training_context();
    Tape tape;
    const Variable task =
        ops::sum(ops::mul(small.layer.forward(x, ctx), Variable(draw(x.shape(), "direction"))));
    tape.backward(ops::add(task, ctx.losses.total()));
    return std::vector{x.grad().to_vector<double>(),
                       small.parameter("moe.router.weight").grad().to_vector<double>(),
                       small.parameter("moe.experts.up").grad().to_vector<double>()};
  };
  const auto with = gradients(0.5), without = gradients(0.0);
  CHECK(with[0] == without[0]);
  CHECK(with[1] == without[1]);
  CHECK(with[2] != without[2]);
}

}  // namespace simsmoe::moe
