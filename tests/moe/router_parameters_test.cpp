// Which parameters a router has, how they begin, which of them decay, which are active.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

MoeOptions options_of(const std::string& router, Variant variant = Variant::paper) {
  MoeOptions options = small_options();
  options.router = router;
  options.variant = variant;
  options.k = router == "switch" ? 1 : 2;
  options.router_bias = false;
  return options;
}

// The lengths of the rows of a matrix as it begins.
std::vector<double> row_lengths(const MoeOptions& options, const std::string& name) {
  const SmallLayer small(options);
  const Tensor rows = small.parameter(name).value();
  std::vector<double> lengths(static_cast<std::size_t>(rows.size(0)), 0.0);
  const std::vector<double> values = rows.to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i)
    lengths[i / static_cast<std::size_t>(rows.size(1))] += values[i] * values[i];
  for (double& length : lengths) length = std::sqrt(length);
  return lengths;
}

}  // namespace

TEST_CASE("routers begin as their papers say") {
  const MoeOptions xmoe = [] {
    MoeOptions options = options_of("xmoe");
    options.set("xmoe.dim", 4);
    return options;
  }();
  // orthogonal: where there are no more rows than columns, each has the length of the gain
  for (const double length : row_lengths(xmoe, "moe.router.embedding"))
    CHECK(length == doctest::Approx(0.32));
  for (const double length : row_lengths(options_of("stablemoe"), "moe.router.centroids"))
    CHECK(length == doctest::Approx(0.1));
  for (const double length : row_lengths(options_of("stablemoe_lite"), "moe.router.centroids"))
    CHECK(length == doctest::Approx(0.32));
  for (const char* name : {"moe.router.weight", "moe.router.noise"}) {
    for (const double length : row_lengths(options_of("noisy_topk"), name)) CHECK(length == 0.0);
    const SmallLayer reference(options_of("noisy_topk", Variant::reference));
    for (const double w : reference.parameter(name).value().to_vector<double>()) {
      CHECK(w != 0.0);
      CHECK(std::abs(w) <= 0.5);  // 1 / sqrt(E)
    }
  }
}

TEST_CASE("xmoe: its space has half as many dimensions as there are experts, and 8 in the reference") {
  const auto width = [](Variant variant, std::int64_t experts, std::int64_t router_dim = 0) {
    MoeOptions options = options_of("xmoe", variant);
    options.experts = experts;
    options.set("xmoe.dim", router_dim);
    return SmallLayer(options).parameter("moe.router.down").size(0);
  };
  CHECK(width(Variant::paper, 8) == 4);
  CHECK(width(Variant::paper, 3) == 2);
  CHECK(width(Variant::reference, 4) == 8);
  CHECK(width(Variant::reference, 4, 3) == 3);
}

TEST_CASE("the map has a bias where the published code has one and the variant is reference") {
  const auto has_bias = [](MoeOptions options) {
    return SmallLayer(options).store.find("moe.router.bias") != nullptr;
  };
  for (const char* router : {"smoe", "switch", "gshard", "random", "smoe_dropout"}) {
    CAPTURE(router);
    CHECK(!has_bias(options_of(router)));
    CHECK(has_bias(options_of(router, Variant::reference)));
  }
  for (const char* router : {"sigmoid", "loss_free", "expert_choice", "compete"})
    CHECK(!has_bias(options_of(router, Variant::reference)));
  MoeOptions compete = options_of("compete", Variant::reference);
  compete.set("compete.version", 1);
  CHECK(has_bias(compete));
}

TEST_CASE("biases, temperature and embeddings do not decay") {
  for (const std::string& router : router_names()) {
    if (router == "gshard" || router == "switch") continue;
    const SmallLayer small(options_of(router));
    for (const nn::Parameter& parameter : small.store.parameters()) {
      const std::string& name = parameter.variable.name();
      CAPTURE(name);
      const bool embedding =
          name == "moe.router.word_embedding" || (router == "hyper" && name.ends_with("embedding"));
      const bool spared = embedding || name.ends_with("bias") || name.ends_with("temperature");
      CHECK(parameter.options.decay == !spared);
    }
  }
}

TEST_CASE("active parameters: inference needs no noise, one row of a word table, and no hypernetwork") {
  const auto active = [](const std::string& router) {
    return SmallLayer(options_of(router)).layer.router().account().active_parameters;
  };
  CHECK(active("smoe") == 4 * 5);
  CHECK(active("noisy_topk") == 4 * 5);
  CHECK(active("stablemoe") == 4 * 5 + 4 * 50 + 50);
  CHECK(active("hyper") == 4 * (5 + 1));
  CHECK(active("hash") == 0);
}

TEST_CASE("routers: the floating-point operations of a token are those of its scores") {
  const auto flops = [](const std::string& router, Variant variant = Variant::paper) {
    return SmallLayer(options_of(router, variant)).layer.router().account().flops_per_token;
  };
  for (const char* router :
       {"smoe", "noisy_topk", "switch", "gshard", "sigmoid", "loss_free", "random", "expert_choice",
        "stablemoe_lite", "smoe_dropout", "hyper", "compete", "remoe"}) {
    CAPTURE(router);
    CHECK(flops(router) == 2.0 * 4 * 5);
  }
  CHECK(flops("hash") == 0.0);
  CHECK(flops("stablemoe") == 2.0 * (4 * 5 + 4 * 50));
  CHECK(flops("xmoe") == 2.0 * (2 * 5 + 4 * 2));
  CHECK(flops("xmoe", Variant::reference) == 2.0 * (8 * 5 + 4 * 8));
}

TEST_CASE("hyper: its network begins with a deviation of 0.02, its embedding with 1") {
  const SmallLayer small(options_of("hyper"));
  const auto deviation = [&](const std::string& name) {
    const std::vector<double> values = small.parameter(name).value().to_vector<double>();
    double squares = 0.0;
    for (const double value : values) squares += value * value;
    return std::sqrt(squares / static_cast<double>(values.size()));
  };
  CHECK(deviation("moe.router.up.weight") / 0.02 == doctest::Approx(1.0).epsilon(0.05));
  CHECK(deviation("moe.router.down.weight") / 0.02 == doctest::Approx(1.0).epsilon(0.05));
  CHECK(deviation("moe.router.embedding") > 0.2);
}

TEST_CASE("hyper: what is kept for an inference is kept for each layer") {
  const MoeOptions options = options_of("hyper");
  nn::ParameterStore store(3, DType::f64);
  const Experts experts(nn::Scope(store, "experts"), options, kSite);
  const auto first = make_router(nn::Scope(store, "first"), options, kSite),
             second = make_router(nn::Scope(store, "second"), options, kSite);
  const Variable x(draw({9, SmallLayer::kDim}, "x"));
  const auto logits = [&](const Router& router, nn::ForwardContext& ctx) {
    return router.route(x, experts, ctx).logits.value().to_vector<double>();
  };
  nn::ForwardContext together, alone;
  const std::vector<double> of_first = logits(*first, together), of_second = logits(*second, together);
  CHECK(of_first != of_second);
  CHECK(of_second == logits(*second, alone));
  CHECK(together.memo.size() == 2);
}

}  // namespace simsmoe::moe
