// What a router says of itself is what it does: every key that its traits promise to read changes a pass, and every other
// one is refused or named, and changes nothing.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "ops/binary.hpp"
#include "ops/reduce.hpp"
#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

MoeOptions options_of(const std::string& router) {
  MoeOptions options = small_options();
  options.router = router;
  options.router_bias = false;
  options.k = router == "switch" ? 1 : 2;
  options.k_schedule.shape = KShape::none;
  return options;
}

// Three sequences of three tokens, at the beginning of the training.
nn::ForwardContext context(bool training) {
  nn::ForwardContext ctx;
  ctx.training = training;
  ctx.token_ids = Tensor::from(std::vector<std::int32_t>{1, 2, 3, 4, 5, 6, 7, 8, 9}, {3, 3});
  return ctx;
}

struct Trace {
  std::vector<double> output;
  std::vector<int> choices;
  std::map<std::string, double> losses;
  bool operator==(const Trace&) const = default;
};

Trace trace_of_layer(const MoeOptions& options) {
  const SmallLayer small(options);
  nn::ForwardContext ctx = context(true);
  const Variable y = small.layer.forward(Variable(draw({3, 3, SmallLayer::kDim}, "x", 3.0)), ctx);
  return {y.value().to_vector<double>(), {}, ctx.losses.by_name()};
}

// Of the router alone, which nobody has asked whether the options suit it.
Trace trace_of_router(const MoeOptions& options, nn::ForwardContext ctx = context(true)) {
  nn::ParameterStore store(3, DType::f64);
  const Experts experts(nn::Scope(store, "experts"), options, kSite);
  const auto router = make_router(nn::Scope(store, "router"), options, kSite);
  const RouterOutput route = router->route(Variable(draw({9, SmallLayer::kDim}, "x", 3.0)), experts, ctx);
  return {route.weights.value().to_vector<double>(), route.experts.to_vector<int>(), ctx.losses.by_name()};
}

bool is_refused(const MoeOptions& options) {
  try {
    validate(options);
  } catch (const UserError&) {
    return true;
  }
  return false;
}

// Whether the key is among those that a program names because nothing reads them.
bool is_idle(MoeOptions options, const std::string& key) {
  MoeOptions defaults;
  nn::FieldList list, standard;
  options.sections(list);
  defaults.sections(standard);
  for (const std::string& line : nn::idle_options(list, standard))
    if (line.starts_with(key + " ")) return true;
  return false;
}

}  // namespace

TEST_CASE("traits: a key of the layer is refused, or named as idle, or changes what a router does") {
  const std::vector<std::pair<std::string, nn::FieldValue>> changes = {
      {"moe.router_bias", true},   {"moe.router_order", "softmax_topk"},
      {"moe.balance", "sequence"}, {"moe.balance_weight", 0.5},
      {"moe.z_weight", 0.5},       {"moe.k_schedule", "linear_decrease"}};
  for (const std::string& router : router_names())
    for (const auto& [key, value] : changes) {
      CAPTURE(router);
      CAPTURE(key);
      const MoeOptions base = options_of(router);
      MoeOptions changed = base;
      changed.set(key, value);
      if (is_refused(changed)) {
        CHECK(is_idle(changed, key));
        CHECK(trace_of_router(changed) == trace_of_router(base));
      } else {
        CHECK(is_idle(changed, key) == (trace_of_layer(changed) == trace_of_layer(base)));
      }
    }
}

TEST_CASE("traits: capacity drops tokens of every router but those that leave no fixed number to tokens") {
  for (const std::string& router : router_names()) {
    CAPTURE(router);
    const MoeOptions base = options_of(router);
    MoeOptions limited = base;
    limited.capacity_factor = 0.25;
    const bool none = router == "remoe" || router == "expert_choice";
    CHECK(is_refused(limited) == none);
    CHECK(is_idle(limited, "moe.capacity_factor") == none);
    if (!none) CHECK(trace_of_layer(limited).output != trace_of_layer(base).output);
  }
}

TEST_CASE("traits: another number of experts in inference changes the choices of those that serve any") {
  for (const RouterKind& kind : router_kinds()) {
    CAPTURE(kind.name);
    const MoeOptions options = options_of(kind.name);
    nn::ForwardContext three = context(false);
    three.experts_per_token = 3;
    const bool same =
        trace_of_router(options, context(false)).choices == trace_of_router(options, three).choices;
    CHECK(same == !options.traits().any_k);
  }
}

namespace {

// Whether the task teaches the router's parameters anything when a token has one expert.
bool task_teaches_lone_choice(MoeOptions options) {
  options.k = 1;
  options.balance_weight = 0.0;
  const SmallLayer small(options);
  nn::ForwardContext ctx = context(true);
  Tape tape;
  const Variable y = small.layer.forward(Variable(draw({3, 3, SmallLayer::kDim}, "x")), ctx);
  tape.backward(ops::sum(ops::mul(y, Variable(draw(y.shape(), "direction")))));
  return std::ranges::any_of(small.store.parameters(), [](const nn::Parameter& parameter) {
    const Tensor& grad = parameter.variable.grad();
    return parameter.variable.name().starts_with("moe.router.") && grad.defined() &&
           std::ranges::any_of(grad.to_vector<double>(), [](double g) { return std::abs(g) > 1e-15; });
  });
}

}  // namespace

TEST_CASE("traits: the task teaches a lone choice, but not in the variant reference of those that say so") {
  for (const RouterKind& kind : router_kinds()) {
    if (kind.name == "gshard") continue;  // two experts
    CAPTURE(kind.name);
    MoeOptions options = options_of(kind.name);
    options.set("compete.rate", 0.0);
    const bool paper = task_teaches_lone_choice(options);
    options.variant = Variant::reference;
    CHECK(task_teaches_lone_choice(options) == (paper && !options.traits().taught_by_selection));
    if (options.traits().taught_by_selection) CHECK(paper);
  }
}

TEST_CASE("traits: routers with scores show them, those without a balance loss add none") {
  for (const std::string& router : router_names()) {
    CAPTURE(router);
    MoeOptions options = options_of(router);
    SmallLayer small(options);
    nn::ForwardContext ctx = context(false);
    const RouterOutput route =
        small.layer.router().route(Variable(draw({9, SmallLayer::kDim}, "x")), small.layer.experts(), ctx);
    CHECK(options.traits().scores == (route.logits.defined() || route.probabilities.defined()));
    CHECK((options.balance_alpha() == 0.0 || options.traits().balance == BalanceSource::none) ==
          trace_of_layer(options).losses.empty());
    options.balance_weight = 0.01;
    CHECK((options.traits().balance == BalanceSource::none) == trace_of_layer(options).losses.empty());
  }
}

TEST_CASE("traits: the recipes that auto stands for") {
  for (const std::string& router : router_names()) {
    CAPTURE(router);
    MoeOptions options = options_of(router);
    options.k_schedule.shape = KShape::automatic;
    CHECK((options.k_shape() == KShape::linear) == (router == "smoe_dropout" || router == "hyper"));
    CHECK(options.balance_form() == Balance::all_choices);
    options.variant = Variant::reference;
    const Balance published = router == "sigmoid"   ? Balance::sequence
                              : router == "compete" ? Balance::sequence_first_choice
                                                    : Balance::reference;
    CHECK(options.balance_form() == published);
  }
  MoeOptions first = options_of("compete");
  first.set("compete.version", 1);
  first.variant = Variant::reference;
  CHECK(first.balance_form() == Balance::reference);
}

TEST_CASE("similarity: keys are named as idle while it is off, those of cka while it measures otherwise") {
  const std::pair<const char*, nn::FieldValue> of_all[] = {
      {"beta", 0.9},           {"frequency", 7.0}, {"threshold", 0.9}, {"loss", "cosine"},
      {"reuse_outputs", true}, {"min_tokens", 9},  {"max_tokens", 99}};
  const std::pair<const char*, nn::FieldValue> of_cka[] = {
      {"kernel", "linear"}, {"estimator", "biased"}, {"normalize", true}};
  MoeOptions off = options_of("smoe"), cka = off, cosine = off;
  cka.similarity.enabled = cosine.similarity.enabled = true;
  cosine.set("similarity.loss", "cosine");
  const auto idle_with = [](MoeOptions options, const std::string& key, const nn::FieldValue& value) {
    return is_idle(options.set("similarity." + key, value), "similarity." + key);
  };
  for (const auto& [key, value] : of_all) {
    CAPTURE(key);
    CHECK(idle_with(off, key, value));
    CHECK_FALSE(idle_with(cka, key, value));
    CHECK_FALSE(idle_with(cosine, key, value));
  }
  for (const auto& [key, value] : of_cka) {
    CAPTURE(key);
    CHECK(idle_with(off, key, value));
    CHECK_FALSE(idle_with(cka, key, value));
    CHECK(idle_with(cosine, key, value));
  }
}

TEST_CASE("routers: a weight of 0 takes its loss away, and the loss is named as off") {
  const std::tuple<const char*, const char*, const char*> weights[] = {
      {"smoe", "moe.balance_weight", "balance"},
      {"smoe", "moe.z_weight", "z"},
      {"gshard", "moe.balance_weight", "balance"},
      {"gshard", "moe.z_weight", "z"},
      {"noisy_topk", "noisy_topk.importance_weight", "importance"},
      {"noisy_topk", "noisy_topk.load_weight", "load"},
      {"stablemoe", "stablemoe.balance_weight", "balance"},
      {"stablemoe", "stablemoe.distill_weight", "distill"},
      {"compete", "compete.router_weight", "router"},
      {"compete", "compete.diversity_weight", "diversity"}};
  for (const auto& [router, key, loss] : weights) {
    CAPTURE(key);
    MoeOptions options = options_of(router);
    options.set("compete.rate", 1.0).set("compete.warmup", 0.0).set("moe.z_weight", 0.5);
    const auto is_off = [&, key = key, loss = loss](MoeOptions of) {
      nn::FieldList list;
      of.sections(list);
      const std::vector<std::string> off = nn::losses_off(list);
      return std::ranges::find(off, fmt::format("{} ({} = 0)", loss, key)) != off.end();
    };
    CHECK(trace_of_layer(options).losses.contains(loss));
    CHECK_FALSE(is_off(options));
    options.set(key, 0.0);
    CHECK_FALSE(trace_of_layer(options).losses.contains(loss));
    CHECK(is_off(options));
  }
}

TEST_CASE("routers: losses name the layer, or the router in it, that they belong to") {
  std::set<std::string> names;
  for (const std::string& router : router_names())
    for (const std::int64_t version : {1, 2}) {
      CAPTURE(router);
      MoeOptions options = options_of(router);
      options.z_weight = options.similarity.beta = 0.5;
      options.similarity.enabled = options.k > 1;
      options.similarity.frequency = 0.0;
      options.similarity.threshold = -1.0;
      options.set("compete.rate", 1.0).set("compete.warmup", 0.0).set("compete.version", version);
      options.set("compete.schedule", "bernoulli");
      const SmallLayer small(options);
      nn::ForwardContext ctx = context(true);
      small.layer.forward(Variable(draw({3, 3, SmallLayer::kDim}, "x", 3.0)), ctx);
      for (const nn::LossTerm& term : ctx.losses.terms()) {
        CAPTURE(term.name);
        CHECK((term.where == "moe" || term.where == "moe.router"));
        names.insert(term.name);
      }
    }
  CHECK(names == std::set<std::string>{"balance", "distill", "diversity", "importance", "load", "router",
                                       "similarity", "sparsity", "z"});
}

TEST_CASE("routers: two layers with equal parameters draw noise of their own") {
  for (const std::string router : {"noisy_topk", "switch", "gshard"})
    for (const Variant variant : {Variant::paper, Variant::reference}) {
      CAPTURE(router);
      MoeOptions options = options_of(router);
      options.variant = variant;
      nn::ParameterStore store(3, DType::f64);
      const Experts experts(nn::Scope(store, "experts"), options, kSite);
      const auto first = make_router(nn::Scope(store, "first"), options, kSite),
                 second = make_router(nn::Scope(store, "second"), options, kSite);
      for (const nn::Parameter& parameter : store.parameters())
        if (parameter.variable.name().starts_with("first"))
          store.find("second" + parameter.variable.name().substr(5))
              ->variable.set_value(parameter.variable.value());
      const auto output = [&](const Router& of, bool training) {
        nn::ForwardContext ctx = context(training);
        const RouterOutput route = of.route(Variable(draw({9, SmallLayer::kDim}, "x")), experts, ctx);
        std::vector<double> all = route.weights.value().to_vector<double>();
        for (const int e : route.experts.to_vector<int>()) all.push_back(e);
        return all;
      };
      CHECK(output(*first, false) == output(*second, false));
      CHECK(output(*first, true) != output(*second, true));
      CHECK(output(*first, true) != output(*first, false));
    }
}

TEST_CASE("routers: linear maps begin with the deviation that the model asks for") {
  nn::Site site = kSite;
  site.init_std = 1e-3;
  int maps = 0;
  for (const std::string& router : router_names()) {
    if (router == "noisy_topk") continue;  // begins as its paper says
    const SmallLayer small(options_of(router), DType::f64, site);
    const nn::Parameter* weight = small.store.find("moe.router.weight");
    if (weight == nullptr) continue;
    CAPTURE(router);
    ++maps;
    for (const double w : weight->variable.value().to_vector<double>()) {
      CHECK(w != 0.0);
      CHECK(std::abs(w) < 6e-3);
    }
  }
  CHECK(maps > 0);
}

}  // namespace simsmoe::moe
