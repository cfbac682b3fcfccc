// The layer against a loop over tokens that follows the definition, and what it must withstand.
#include "moe/moe_layer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/binary.hpp"
#include "ops/reduce.hpp"
#include "ops/unary.hpp"
#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

constexpr std::size_t kDim = SmallLayer::kDim;

std::vector<double> values(const SmallLayer& small, std::string_view name) {
  return small.parameter(name).value().to_vector<double>();
}

// One expert on one token, by the definition: down gelu(up x + b) + c.
std::vector<double> run_expert(const SmallLayer& small, std::size_t expert, const double* x,
                               std::size_t hidden) {
  const auto up = values(small, "moe.experts.up"), down = values(small, "moe.experts.down");
  const auto b = values(small, "moe.experts.up_bias"), c = values(small, "moe.experts.down_bias");
  std::vector<double> y(c.begin() + static_cast<std::ptrdiff_t>(expert * kDim),
                        c.begin() + static_cast<std::ptrdiff_t>((expert + 1) * kDim));
  for (std::size_t f = 0; f < hidden; ++f) {
    double h = b[expert * hidden + f];
    for (std::size_t d = 0; d < kDim; ++d) h += up[(expert * hidden + f) * kDim + d] * x[d];
    h *= 0.5 * (1.0 + std::erf(h / std::sqrt(2.0)));
    for (std::size_t d = 0; d < kDim; ++d) y[d] += down[(expert * kDim + d) * hidden + f] * h;
  }
  return y;
}

// The whole layer, token by token. x: [n, D]
std::vector<double> naive_layer(const SmallLayer& small, const MoeOptions& o, const std::vector<double>& x) {
  const std::size_t n = x.size() / kDim, experts = static_cast<std::size_t>(o.experts),
                    k = static_cast<std::size_t>(o.k);
  const auto w = values(small, "moe.router.weight"), b = values(small, "moe.router.bias");
  const double capacity =
      o.capacity_factor > 0.0
          ? std::ceil(o.capacity_factor * static_cast<double>(k * n) / static_cast<double>(experts))
          : 1e9;
  std::vector<double> taken(experts, 0.0), y(x.size(), 0.0);
  for (std::size_t t = 0; t < n; ++t) {
    std::vector<double> p(experts);
    for (std::size_t e = 0; e < experts; ++e) {
      p[e] = b[e];
      for (std::size_t d = 0; d < kDim; ++d) p[e] += w[e * kDim + d] * x[t * kDim + d];
      p[e] = std::exp(p[e]);
    }
    std::vector<std::size_t> best(experts);
    std::iota(best.begin(), best.end(), std::size_t{0});
    std::ranges::stable_sort(best, [&](std::size_t i, std::size_t j) { return p[i] > p[j]; });
    const bool renormalise = o.router_order == SelectionOrder::topk_softmax && k > 1;
    double sum = 0.0;
    for (std::size_t j = 0; j < (renormalise ? k : experts); ++j) sum += p[best[j]];
    for (std::size_t j = 0; j < k; ++j) {
      const std::size_t e = best[j];
      if (taken[e]++ >= capacity) continue;
      const std::vector<double> out =
          run_expert(small, e, x.data() + t * kDim, static_cast<std::size_t>(o.hidden));
      for (std::size_t d = 0; d < kDim; ++d) y[t * kDim + d] += p[e] / sum * out[d];
    }
  }
  return y;
}

// A layer whose router always prefers experts in the order of `bias`.
void prefer(const SmallLayer& small, const std::vector<double>& bias) {
  const Variable router = small.parameter("moe.router.bias");
  router.set_value(Tensor::from(bias, {static_cast<std::int64_t>(bias.size())}).to(router.dtype()));
}

bool finite_gradients(const SmallLayer& small) {
  return std::ranges::all_of(small.parameters(), [](const Variable& parameter) {
    return parameter.grad().defined() && all_finite(parameter.grad());
  });
}

void backward_of(SmallLayer& small, const Tensor& x, nn::ForwardContext& ctx) {
  Tape tape;
  // What the experts computed in bf16 goes back to the residual stream of the decoder, in the dtype of x.
  Variable loss = ops::sum(ops::square(ops::cast(small.layer.forward(Variable(x), ctx), x.dtype())));
  if (!ctx.losses.terms().empty()) {
    const Variable auxiliary = ctx.losses.total();
    loss = ops::add(loss, auxiliary);
  }
  tape.backward(loss);
}

}  // namespace

TEST_CASE("the layer equals a loop over tokens: every k, both orders, with and without capacity") {
  for (const SelectionOrder order : {SelectionOrder::topk_softmax, SelectionOrder::softmax_topk})
    for (const double capacity : {0.0, 0.6})
      for (std::int64_t k = 1; k <= 4; ++k)
        for (const std::int64_t n : {1, 2, 13}) {
          CAPTURE(nn::name_of(order));
          CAPTURE(capacity);
          CAPTURE(k);
          CAPTURE(n);
          MoeOptions options = small_options();
          options.k = k;
          options.router_order = order;
          options.capacity_factor = capacity;
          SmallLayer small(options);
          nn::ForwardContext ctx;
          ctx.capacity_factor = capacity;
          const Tensor x = draw({1, n, SmallLayer::kDim}, "x", 2.0);
          const Variable y = small.layer.forward(Variable(x), ctx);
          REQUIRE(y.shape() == x.shape());
          const std::vector<double> expected = naive_layer(small, options, x.to_vector<double>());
          const auto got = y.value().host<const double>();
          double worst = 0.0;
          for (std::size_t i = 0; i < got.size(); ++i)
            worst = std::max(worst, std::abs(got[i] - expected[i]));
          CHECK(worst < 1e-13);
          CHECK(ctx.losses.terms().empty());  // not in training
        }
}

TEST_CASE("all tokens on one expert, experts without tokens: finite, and zero gradients where nobody came") {
  MoeOptions options = small_options();
  options.k = 1;
  SmallLayer small(options);
  prefer(small, {-50.0, -50.0, 50.0, -50.0});
  nn::ForwardContext ctx = training_context();
  backward_of(small, draw({1, 6, SmallLayer::kDim}, "x"), ctx);
  REQUIRE(finite_gradients(small));
  const auto dup = small.parameter("moe.experts.up").grad().to_vector<double>();
  for (std::size_t e = 0; e < 4; ++e) {
    double sum = 0.0;
    for (std::size_t i = 0; i < 6 * kDim; ++i) sum += std::abs(dup[e * 6 * kDim + i]);
    CHECK((sum > 0.0) == (e == 2));
  }
}

TEST_CASE("init_alike: that share of the variance is common to all experts, and the variance stays") {
  MoeOptions options = small_options();
  options.experts = 2;
  options.hidden = 2000;
  options.init_alike = 0.7;
  const SmallLayer small(options);
  const std::vector<double> up = small.parameter("moe.experts.up").value().to_vector<double>();
  const std::size_t n = up.size() / 2;
  double ab = 0.0, aa = 0.0, bb = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    ab += up[i] * up[n + i];
    aa += up[i] * up[i];
    bb += up[n + i] * up[n + i];
  }
  CHECK(ab / std::sqrt(aa * bb) ==
        doctest::Approx(0.7).epsilon(0.03));  // 10,000 pairs: 4 deviations are 0.02
  // uniform in +-1/sqrt(5): variance 1 / 15
  CHECK(15.0 * aa / static_cast<double>(n) == doctest::Approx(1.0).epsilon(0.03));
}

TEST_CASE("no token at all") {
  SmallLayer small(small_options());
  nn::ForwardContext ctx = training_context();
  ctx.collect_metrics = true;
  const Variable y = small.layer.forward(Variable(Tensor::zeros({2, 0, SmallLayer::kDim}, DType::f64)), ctx);
  CHECK(y.shape() == Shape{2, 0, SmallLayer::kDim});
  CHECK(ctx.losses.terms().empty());
  CHECK(ctx.metrics.empty());
}

TEST_CASE("every choice dropped: the layer's output and gradients are zero, not garbage") {
  SmallLayer small(small_options());
  nn::ForwardContext ctx = training_context();
  const DispatchPlan plan = make_plan(Tensor::full({3, 2}, -1, DType::i32), 4);
  const Variable x(draw({3, SmallLayer::kDim}, "x"), true);
  const Variable weights(draw({3, 2}, "weights"), true);
  Tape tape;
  const Variable h =
      small.layer.experts().forward(ops::gather_tokens(x, plan.partition), plan.partition.offsets, ctx);
  const Variable y = ops::combine_tokens(h, weights, plan.partition);
  CHECK(y.value().to_vector<double>() == std::vector<double>(15, 0.0));
  tape.backward(ops::sum(y));
  CHECK(weights.grad().to_vector<double>() == std::vector<double>(6, 0.0));
  CHECK(x.grad().to_vector<double>() == std::vector<double>(15, 0.0));
}

TEST_CASE("auxiliary losses: named, weighted, absent at weight 0") {
  MoeOptions options = small_options();
  options.balance_weight = 0.5;
  options.z_weight = 0.25;
  SmallLayer small(options);
  nn::ForwardContext ctx = training_context();
  const Tensor x = draw({2, 8, SmallLayer::kDim}, "x");
  small.layer.forward(Variable(x), ctx);
  REQUIRE(ctx.losses.terms().size() == 2);
  const nn::LossTerm &balance = ctx.losses.terms()[0], &z = ctx.losses.terms()[1];
  CHECK(balance.name == "balance");
  CHECK(balance.where == "moe");
  CHECK(balance.weight == 0.5);
  CHECK(balance.value.value().item() > 0.9);  // near 1 for a router that has learned nothing
  CHECK(z.name == "z");
  CHECK(z.weight == 0.25);

  options.balance_weight = options.z_weight = 0.0;
  SmallLayer silent(options);
  ctx.losses.clear();
  silent.layer.forward(Variable(x), ctx);
  CHECK(ctx.losses.terms().empty());
}

TEST_CASE("a capacity is the training's: inference drops nothing, unless its context says so") {
  MoeOptions options = small_options();
  options.capacity_factor = 0.5;
  const SmallLayer limited(options);
  options.capacity_factor = 0.0;
  const SmallLayer free(options);
  const Variable x(draw({1, 8, SmallLayer::kDim}, "x"));
  const auto output = [&](const SmallLayer& of, bool training, double capacity) {
    nn::ForwardContext ctx;
    ctx.training = training;
    ctx.capacity_factor = capacity;
    return of.layer.forward(x, ctx).value().to_vector<double>();
  };
  CHECK(output(limited, false, 0.0) == output(free, false, 0.0));
  CHECK(output(limited, false, 0.5) == output(free, false, 0.5));
  CHECK(output(free, false, 0.5) != output(free, false, 0.0));
  CHECK(output(limited, true, 0.0) == output(free, false, 0.5));
  CHECK(output(free, true, 0.5) == output(free, false, 0.0));
}

TEST_CASE("a frozen router: its balance loss, where there is one, teaches the tokens") {
  for (const char* router : {"random", "smoe_dropout"})
    for (const Variant variant : {Variant::paper, Variant::reference}) {
      CAPTURE(router);
      MoeOptions options = small_options();
      options.router = router;
      options.variant = variant;
      const SmallLayer small(options);
      const Variable x(draw({2, 4, SmallLayer::kDim}, "x"), true, "x");
      nn::ForwardContext ctx = training_context();
      Tape tape;
      small.layer.forward(x, ctx);
      REQUIRE(ctx.losses.terms().size() == (variant == Variant::reference ? 1 : 0));
      if (ctx.losses.terms().empty()) continue;
      CHECK(ctx.losses.terms()[0].name == "balance");
      CHECK(ctx.losses.terms()[0].weight == 0.01);
      tape.backward(ctx.losses.total());
      REQUIRE(x.grad().defined());
      CHECK(std::ranges::any_of(x.grad().to_vector<double>(), [](double g) { return g != 0.0; }));
      CHECK(!small.parameter("moe.router.weight").grad().defined());
    }
}

TEST_CASE(
    "experts begin as wide as one expert is, in the variant reference as the published code draws them") {
  MoeOptions options = small_options();
  options.hidden = 32;
  const auto spread = [](const SmallLayer& of, const char* name) {
    double most = 0.0;
    for (const double w : of.parameter(name).value().to_vector<double>()) most = std::max(most, std::abs(w));
    return most;
  };
  const auto check = [&](const nn::Site& site, double up, double down) {
    const SmallLayer small(options, DType::f64, site);
    CHECK(spread(small, "moe.experts.up") <= up);
    CHECK(spread(small, "moe.experts.up") > 0.97 * up);
    CHECK(spread(small, "moe.experts.down") <= down);
    CHECK(spread(small, "moe.experts.down") > 0.97 * down);
  };
  check(kSite, 1.0 / std::sqrt(5.0), 1.0 / std::sqrt(32.0));
  options.variant = Variant::reference;
  check(kSite, 1.0 / std::sqrt(5.0 * 32.0), 1.0 / std::sqrt(5.0 * 32.0));
  nn::Site normal = kSite;
  normal.init_std = normal.output_std = 0.02;
  const SmallLayer small(options, DType::f64, normal);
  double squares = 0.0;
  const std::vector<double> weights = small.parameter("moe.experts.down").value().to_vector<double>();
  for (const double w : weights) squares += w * w;
  CHECK(std::sqrt(squares / static_cast<double>(weights.size())) == doctest::Approx(0.02).epsilon(0.1));
}

TEST_CASE("metrics describe the load") {
  MoeOptions options = small_options();
  options.capacity_factor = 0.5;  // C = ceil(0.5 * 2 * 8 / 4) = 2
  SmallLayer small(options);
  prefer(small, {100.0, 50.0, -100.0, -100.0});
  nn::ForwardContext ctx = training_context();
  ctx.collect_metrics = true;
  small.layer.forward(Variable(draw({1, 8, SmallLayer::kDim}, "x")), ctx);
  const auto metrics = ctx.metrics.read();
  CHECK(metrics.at("moe/load.0") == 0.5);
  CHECK(metrics.at("moe/load.1") == 0.5);
  CHECK(metrics.at("moe/load.3") == 0.0);
  CHECK(metrics.at("moe/load_max") == 0.5);
  CHECK(metrics.at("moe/load_min") == 0.0);
  CHECK(metrics.at("moe/load_entropy") == doctest::Approx(std::log(2.0)));
  CHECK(metrics.at("moe/dropped") == 0.75);
  CHECK(metrics.at("moe/k") == 2.0);
}

TEST_CASE("metrics name the layer's own losses, weighted, and how alike its experts are") {
  MoeOptions options = small_options();
  options.balance_weight = 0.5;
  options.init_alike = 1.0;
  SmallLayer small(options);
  for (const char* bias : {"moe.experts.up_bias", "moe.experts.down_bias"})
    small.parameter(bias).value().fill(0.0);
  nn::ForwardContext ctx = training_context();
  ctx.losses.add("other", "elsewhere", 1.0, Variable(Tensor::full({}, 7.0, DType::f64)));
  ctx.collect_metrics = ctx.compare_experts = true;
  small.layer.forward(Variable(draw({4, 64, SmallLayer::kDim}, "x")), ctx);
  REQUIRE(ctx.losses.terms().size() == 2);
  const auto metrics = ctx.metrics.read();
  CHECK(metrics.at("moe/loss/balance") == 0.5 * ctx.losses.terms()[1].value.value().item());
  CHECK(!metrics.contains("moe/loss/other"));
  CHECK(metrics.at("moe/expert_cka_pairs") >= 3.0);
  CHECK(metrics.at("moe/expert_cka") == doctest::Approx(1.0).epsilon(1e-6));
}

TEST_CASE("account counts what one token uses") {
  MoeOptions options = small_options();
  options.k = 3;
  SmallLayer small(options);
  const nn::Account account = small.layer.account();
  CHECK(account.parameters == small.store.num_elements());
  const std::int64_t expert = 2 * 6 * 5 + 6 + 5, router = 4 * 5 + 4;
  CHECK(account.active_parameters == router + 3 * expert);
  CHECK(account.flops_per_token == 2.0 * (4 * 5 + 3 * 2 * 6 * 5));
}

TEST_CASE("dropout inside the experts: in training only, the same draw gives the same bits") {
  MoeOptions options = small_options();
  options.dropout = 0.5;
  SmallLayer small(options);
  const Variable x(draw({1, 9, SmallLayer::kDim}, "x"));
  nn::ForwardContext ctx = training_context(), evaluation;
  const auto first = small.layer.forward(x, ctx).value().to_vector<double>();
  CHECK(small.layer.forward(x, ctx).value().to_vector<double>() == first);
  CHECK(small.layer.forward(x, evaluation).value().to_vector<double>() != first);
  ctx.draw = 1;
  CHECK(small.layer.forward(x, ctx).value().to_vector<double>() != first);
}

TEST_CASE("bad options: refused when they are given, not when the first layer is made") {
  MoeOptions options = small_options();
  options.k = 5;
  CHECK_THROWS_AS(feed_forward_factory(options), UserError);
}

TEST_CASE("a pair of experts computes in the dtype that it is asked for, each as it does alone") {
  const SmallLayer small(small_options(), DType::f32);
  const Variable x(draw({3, SmallLayer::kDim}, "x", 1.0, DType::f32));
  const Variable exact = small.layer.experts().forward_pair(x, 1, 3, DType::f32),
                 rounded = small.layer.experts().forward_pair(x, 1, 3, DType::bf16);
  CHECK(exact.dtype() == DType::f32);
  CHECK(rounded.dtype() == DType::bf16);
  nn::ForwardContext ctx;
  const auto alone = [&](std::vector<std::int64_t> offsets) {
    return small.layer.experts().forward(x, Tensor::from(offsets, {5}), ctx).value().to_vector<double>();
  };
  std::vector<double> both = alone({0, 0, 3, 3, 3});
  const std::vector<double> second = alone({0, 0, 0, 0, 3});
  both.insert(both.end(), second.begin(), second.end());
  CHECK(exact.value().to_vector<double>() == both);
  for (std::size_t i = 0; i < both.size(); ++i)
    CHECK(rounded.value().to_vector<double>()[i] == doctest::Approx(both[i]).epsilon(0.05));
}

TEST_CASE("bf16 experts: the same choices, an output near that of f32, f32 gradients") {
  SmallLayer small(small_options(), DType::f32);
  const Tensor x = draw({2, 16, SmallLayer::kDim}, "x", 1.0, DType::f32);
  nn::ForwardContext exact = training_context(), mixed = training_context();
  mixed.compute_dtype = DType::bf16;
  const auto reference = small.layer.forward(Variable(x), exact).value().to_vector<double>();
  const Variable y = small.layer.forward(Variable(x), mixed);
  CHECK(y.dtype() == DType::bf16);
  const auto rounded = y.value().to_vector<double>();
  double difference = 0.0, norm = 0.0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    difference += (rounded[i] - reference[i]) * (rounded[i] - reference[i]);
    norm += reference[i] * reference[i];
  }
  CHECK(difference > 0.0);                     // it did compute in bf16
  CHECK(std::sqrt(difference / norm) < 0.02);  // 8 significant bits, five roundings in a row
  mixed.losses.clear();
  backward_of(small, x, mixed);
  REQUIRE(finite_gradients(small));
  for (const Variable& parameter : small.parameters()) CHECK(parameter.grad().dtype() == DType::f32);
}

}  // namespace simsmoe::moe
