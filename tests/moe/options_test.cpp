// Bad options and checkpoints are the user's mistake: one sentence that names the key, before the first pass.
#include "moe/options.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "nn/checkpoint.hpp"
#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

MoeOptions options_of(const std::string& router, std::int64_t k = 2) {
  MoeOptions options = small_options();
  options.router = router;
  options.k = k;
  return options;
}

// What the layer says of small_options() with a change; empty: nothing.
std::string message_with(const std::function<void(MoeOptions&)>& change,
                         MoeOptions options = options_of("smoe"), const nn::Site& site = kSite) {
  try {
    change(options);
    const SmallLayer small(options, DType::f64, site);
  } catch (const UserError& error) {
    return error.what();
  }
  return {};
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// The same, where the change is a value of a key.
std::string message_of(const std::string& key, const nn::FieldValue& value,
                       MoeOptions options = options_of("smoe")) {
  return message_with([&](MoeOptions& o) { o.set(key, value); }, std::move(options));
}

}  // namespace

TEST_CASE("bad options: a key that nobody knows, a value of another kind") {
  CHECK(message_of("xmoe.dmi", 4) == "unknown key 'xmoe.dmi', did you mean 'xmoe.dim'?");
  CHECK(message_of("moe.jitter", 0.2) == "unknown key 'moe.jitter': it is switch.jitter now");
  CHECK(message_of("xmoe.dim", "wide") == "xmoe.dim: expected a whole number in [0, 65536], got \"wide\"");
  CHECK(message_of("moe.bias", 1) == "moe.bias: expected true or false, got 1");
  CHECK(message_of("moe.z_weight", 1).empty());  // a whole number is a number
}

TEST_CASE("bad options: the layer") {
  CHECK(message_with([](MoeOptions&) {}).empty());
  CHECK(message_with([](MoeOptions& o) { o.k = 5; }).starts_with("moe.k = 5 is more than moe.experts = 4"));
  CHECK(message_with([](MoeOptions& o) { o.k = 0; }) ==
        "moe.k: expected a whole number in [1, 65536], got 0");
  CHECK(message_with([](MoeOptions& o) { o.experts = 0; }).starts_with("moe.experts: expected"));
  CHECK(message_with([](MoeOptions& o) { o.hidden = 0; }).starts_with("moe.hidden: expected"));
  CHECK(message_with([](MoeOptions& o) { o.dropout = 1.0; }).starts_with("moe.dropout: expected"));
  CHECK(message_with([](MoeOptions& o) { o.init_alike = 1.5; }).starts_with("moe.init_alike: expected"));
  CHECK(message_with([](MoeOptions& o) {
          o.balance_weight = -1.0;
        }).starts_with("moe.balance_weight: expected"));
  CHECK(message_with([](MoeOptions& o) { o.z_weight = kNan; }).starts_with("moe.z_weight: expected"));
  CHECK(message_with([](MoeOptions& o) {
          o.capacity_factor = -0.5;
        }).starts_with("moe.capacity_factor: expected"));
  CHECK(message_of("moe.balance", "swich") ==
        "moe.balance: expected one of auto, switch, first_choice, sequence, sequence_first_choice, "
        "reference, global, got "
        "\"swich\", did you mean 'switch'?");
  CHECK(message_of("moe.router_order", "softmax").starts_with("moe.router_order: expected one of"));
  CHECK(message_of("moe.variant", "repo").starts_with("moe.variant: expected one of paper, reference"));
}

TEST_CASE("bad options: what one router cannot do and another can") {
  const auto says = [](const std::string& router, const std::function<void(MoeOptions&)>& change,
                       std::int64_t k = 2) { return message_with(change, options_of(router, k)); };
  const auto scheduled = [](MoeOptions& o) { o.k_schedule.shape = KShape::linear; };
  CHECK(says("smoe", scheduled).empty());
  CHECK(says("gshard", scheduled).starts_with("moe.k_schedule = linear: router gshard has a fixed number"));
  CHECK(says("switch", scheduled, 1).starts_with("moe.k_schedule = linear: router switch"));
  CHECK(says("hash", scheduled).starts_with("moe.k_schedule = linear: router hash"));
  const auto sequences = [](MoeOptions& o) { o.balance = Balance::sequence; };
  CHECK(says("xmoe", sequences).empty());
  CHECK(says("gshard", sequences)
            .starts_with("moe.balance = sequence: router gshard has a balance loss of its"));
  CHECK(says("hash", sequences).starts_with("moe.balance = sequence: router hash has no balance loss"));
  const auto other_order = [](MoeOptions& o) { o.router_order = SelectionOrder::softmax_topk; };
  CHECK(says("xmoe", other_order).empty());
  CHECK(says("noisy_topk", other_order).starts_with("moe.router_order = softmax_topk: router noisy_topk"));
  CHECK(says("sigmoid", other_order).starts_with("moe.router_order = softmax_topk: router sigmoid"));
  CHECK(says("compete", [](MoeOptions& o) {
          o.set("compete.distillation", "kl");
        }).starts_with("compete.distillation = kl belongs to compete.version = 1"));
  CHECK(says("compete", [](MoeOptions& o) {
          o.set("compete.combine_router", true);
        }).starts_with("compete.combine_router belongs to compete.version = 1"));
  CHECK(says("compete", [](MoeOptions& o) {
          o.set("compete.balance_responses", true);
        }).starts_with("compete.balance_responses belongs to compete.version = 1"));
  CHECK(says("compete", [](MoeOptions& o) {
          o.set("compete.version", 1);
          o.set("compete.hybrid", 0.1);
        }).starts_with("compete.hybrid belongs to compete.version = 2"));
  const auto crowded = [](const std::string& router, std::int64_t layers, double rate) {
    return message_with([&](MoeOptions& o) { o.set("compete.rate", rate); }, options_of(router),
                        {.dim = 5, .count = layers, .steps = 100});
  };
  CHECK(crowded("smoe", 61, 0.05).empty());
  CHECK(crowded("compete", 61, 0.05).starts_with("compete.rate = 0.05 of 61 layers"));
  CHECK(crowded("compete", 8, 0.5).find("more than compete.max_layers = 3 in every step") !=
        std::string::npos);
  CHECK(crowded("compete", 6, 0.5).empty());
  CHECK(says("smoe", [](MoeOptions& o) {
          o.similarity.min_tokens = 3;
        }).starts_with("similarity.min_tokens = 3: debiased CKA needs at least 4"));
}

TEST_CASE("the options of a router of one's own are described, checked and set like the others") {
  struct WarmOptions {
    double heat = 1.0;
    void fields(nn::FieldList& add) { add("heat", &heat, "of the scores", nn::above(0)); }
    void check() const {
      if (heat == 13.0) throw UserError("warm.heat = 13 is bad luck");
    }
  };
  double seen = 0.0;
  MoeOptions options = options_of("smoe");
  options.custom_router = {.name = "warm",
                           .make =
                               [&](const nn::Scope& scope, MoeOptions o, const nn::Site& site) {
                                 seen = o.router_options().as<WarmOptions>().heat;
                                 o.custom_router = {};
                                 return make_router(scope, o, site);
                               },
                           .options = nn::OptionSet(WarmOptions{})};
  CHECK(message_of("warm.heat", 2.0, options).empty());
  CHECK(seen == 2.0);
  CHECK(message_of("warm.heat", -2.0, options) == "warm.heat: expected a number > 0, got -2");
  CHECK(message_of("warm.heat", 13.0, options) == "warm.heat = 13 is bad luck");
  CHECK_THROWS_AS(options.router_options().as<SimilarityOptions>(), Error);
}

TEST_CASE("bad options: the routers") {
  const std::string unknown = message_with([](MoeOptions& o) { o.router = "smoee"; });
  CHECK(unknown.starts_with("moe.router: expected one of smoe, noisy_topk"));
  CHECK(unknown.ends_with("got \"smoee\", did you mean 'smoe'?"));
  const auto refused = [](const std::string& key, const nn::FieldValue& value) {
    const std::string router = key.substr(0, key.find('.'));
    return message_of(key, value, options_of(router, router == "switch" ? 1 : 2))
        .starts_with(key + ": expected");
  };
  CHECK(refused("noisy_topk.importance_weight", -1.0));
  CHECK(refused("noisy_topk.load_weight", kNan));
  CHECK(refused("switch.jitter", 1.0));
  CHECK(refused("loss_free.rate", -0.1));
  CHECK(refused("xmoe.dim", -1));
  CHECK(refused("stablemoe.stage1", 1.5));
  CHECK(refused("stablemoe.distilled_dim", 0));
  CHECK(refused("stablemoe.balance_weight", -0.1));
  CHECK(refused("stablemoe.distill_weight", -0.1));
  CHECK(refused("hyper.size", 0));

  CHECK(message_with([](MoeOptions& o) { o.k = 2; }, options_of("switch")).find("moe.k must be 1, got 2") !=
        std::string::npos);
  CHECK(message_with([](MoeOptions& o) { o.k = 1; }, options_of("gshard")).find("moe.k must be 2, got 1") !=
        std::string::npos);
  const auto at = [](const std::string& router, const nn::Site& site) {
    return message_with([](MoeOptions&) {}, options_of(router), site);
  };
  for (const char* router : {"hash", "stablemoe"})
    CHECK(at(router, {.dim = 5, .steps = 100}).find("size of the vocabulary") != std::string::npos);
  CHECK(at("stablemoe", {.dim = 5, .vocab = 11}).find("number of training steps") != std::string::npos);
}

TEST_CASE("bad options: the schedule of k") {
  const auto with = [](const std::function<void(KScheduleOptions&)>& change, std::int64_t steps = 100) {
    return message_with(
        [&](MoeOptions& o) {
          o.k_schedule.shape = KShape::linear;
          change(o.k_schedule);
        },
        options_of("smoe"), {.dim = 5, .steps = steps});
  };
  CHECK(with([](KScheduleOptions&) {}).empty());
  CHECK(message_of("moe.k_schedule", "liner").find("got \"liner\", did you mean 'linear'?") !=
        std::string::npos);
  CHECK(message_of("moe.k_schedule", "none_decrease").starts_with("moe.k_schedule: expected one of"));
  CHECK(with([](KScheduleOptions& s) { s.k_min = -1; }).starts_with("moe.k_min: expected"));
  CHECK(with([](KScheduleOptions& s) { s.k_max = 5; }).find("stay within moe.experts = 4") !=
        std::string::npos);
  CHECK(with([](KScheduleOptions& s) {
          s.k_min = 3, s.k_max = 2;
        }).starts_with("moe.k_min = 3 and moe.k_max = 2"));
  CHECK(with([](KScheduleOptions&) {}, 0).find("number of training steps") != std::string::npos);
  // Routers whose recipe has a schedule need the number of steps without being asked for one.
  for (const char* router : {"smoe_dropout", "hyper"})
    CHECK(message_with([](MoeOptions&) {}, options_of(router), {.dim = 5}).find("number of training steps") !=
          std::string::npos);
}

TEST_CASE("bad options: competition") {
  const auto with = [](const std::string& key, const nn::FieldValue& value) {
    return message_of("compete." + key, value, options_of("compete"));
  };
  const auto refused = [&](const std::string& key, const nn::FieldValue& value) {
    return with(key, value).starts_with(fmt::format("compete.{}: expected", key));
  };
  CHECK(with("rate", 0.1).empty());
  CHECK(with("version", 3) == "compete.version: expected a whole number in [1, 2], got 3");
  CHECK(refused("response", "max"));
  CHECK(refused("schedule", "always"));
  CHECK(with("schedule", "lambda").find("compete.version = 1") != std::string::npos);
  CHECK(refused("distillation", "l1"));
  CHECK(refused("rate", 1.1));
  CHECK(refused("rate", kNan));
  CHECK(refused("warmup", -0.1));
  CHECK(refused("max_layers", 0));
  CHECK(refused("iteration", 0));
  CHECK(refused("router_weight", -1.0));
  CHECK(refused("diversity_weight", -1.0));
  CHECK(refused("hybrid", -1.0));
}

TEST_CASE("similarity learning: what is left open follows the variant, what is said stays") {
  SimilarityOptions o;
  const auto resolved = [&](Variant variant) {
    const SimilarityOptions s = o.resolved(variant);
    return fmt::format("{} {} {}", nn::name_of(s.kernel), nn::name_of(s.estimator), s.min_tokens);
  };
  CHECK(o.resolved(Variant::paper).max_tokens == 256);
  CHECK(resolved(Variant::paper) == "rbf_median debiased 4");
  o.estimator = Estimator::biased;
  CHECK(resolved(Variant::paper) == "rbf_median biased 4");
  CHECK(resolved(Variant::reference) == "rbf biased 2");
  CHECK(o.resolved(Variant::reference).max_tokens > 1'000'000'000);
  o.estimator = Estimator::debiased;
  CHECK(resolved(Variant::reference) == "rbf debiased 4");
  o.estimator = Estimator::automatic;
  o.kernel = KernelChoice::linear;
  o.min_tokens = 7;
  CHECK(resolved(Variant::reference) == "linear biased 7");
}

TEST_CASE("bad options: similarity learning") {
  const auto with = [](const std::function<void(SimilarityOptions&)>& change) {
    return message_with([&](MoeOptions& o) {
      o.similarity.enabled = true;
      change(o.similarity);
    });
  };
  CHECK(with([](SimilarityOptions&) {}).empty());
  CHECK(with([](SimilarityOptions& s) { s.beta = -1.0; }).starts_with("similarity.beta: expected"));
  CHECK(with([](SimilarityOptions& s) { s.frequency = -1.0; }).starts_with("similarity.frequency: expected"));
  CHECK(with([](SimilarityOptions& s) {
          s.threshold = 1.0;
        }).starts_with("similarity.threshold = 1 can never"));
  CHECK(with([](SimilarityOptions& s) {
          s.threshold = kNan;
        }).starts_with("similarity.threshold: expected a number, got nan"));
  CHECK(message_of("similarity.loss", "ckaa").starts_with("similarity.loss: expected one of"));
  CHECK(message_of("similarity.kernel", "gauss").starts_with("similarity.kernel: expected one of"));
  CHECK(message_of("similarity.estimator", "HSIC1").starts_with("similarity.estimator: expected one of"));
  CHECK(with([](SimilarityOptions& s) {
          s.sigma = 0.0;
        }).starts_with("similarity.sigma: expected a number > 0"));
  CHECK(with([](SimilarityOptions& s) { s.min_tokens = 1; }).starts_with("similarity.min_tokens must"));
  CHECK(with([](SimilarityOptions& s) { s.max_tokens = 3; }).starts_with("similarity.max_tokens must"));
  const auto enable = [](MoeOptions& o) { o.similarity.enabled = true; };
  CHECK(message_with([&](MoeOptions& o) {
          enable(o);
          o.experts = 5000;
        }).starts_with("similarity.enabled counts all pairs of experts: moe.experts must be at most 4096"));
  MoeOptions lonely = options_of("smoe", 1);
  lonely.experts = 1;
  CHECK(message_with(enable, lonely).find("moe.experts must be at least 2") != std::string::npos);
  CHECK(message_with(enable, options_of("hash", 1)).find("router hash has none") != std::string::npos);
}

TEST_CASE("a checkpoint of another router is refused by name") {
  const auto load_into = [](const std::string& saved, const std::string& wanted) -> std::string {
    const SmallLayer from(options_of(saved));
    std::vector<NamedTensor> tensors = from.store.buffers();
    for (const nn::Parameter& p : from.store.parameters())
      tensors.push_back({p.variable.name(), p.variable.value()});
    nn::ParameterStore store(3, DType::f64);
    store.preload(std::move(tensors));
    try {
      const MoeLayer layer(nn::Scope(store, "moe"), options_of(wanted), kSite);
      nn::check_all_claimed(store);
    } catch (const UserError& error) {
      return error.what();
    }
    return {};
  };
  CHECK(load_into("smoe", "smoe").empty());
  CHECK(load_into("smoe", "xmoe").find("moe.router.down") != std::string::npos);
  CHECK(load_into("xmoe", "smoe").find("moe.router.weight") != std::string::npos);
  CHECK(load_into("hash", "stablemoe").find("moe.router.centroids") != std::string::npos);
  CHECK(load_into("loss_free", "sigmoid").find("moe.router.selection_bias") != std::string::npos);
  CHECK(load_into("smoe", "loss_free").find("moe.router.selection_bias") != std::string::npos);
  CHECK(load_into("smoe", "compete").find("moe.router.schedule.plan") != std::string::npos);
}

}  // namespace simsmoe::moe
