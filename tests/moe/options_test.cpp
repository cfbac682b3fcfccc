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
  options.vocab = 11;
  options.steps = 100;
  return options;
}

// What the layer says of small_options() with a change; empty: nothing.
std::string message_with(const std::function<void(MoeOptions&)>& change,
                         MoeOptions options = options_of("smoe")) {
  change(options);
  try {
    const SmallLayer small(options);
  } catch (const UserError& error) {
    return error.what();
  }
  return {};
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("bad options: the layer") {
  CHECK(message_with([](MoeOptions&) {}).empty());
  CHECK(message_with([](MoeOptions& o) { o.k = 5; }).starts_with("moe.k = 5 is more than moe.experts = 4"));
  CHECK(message_with([](MoeOptions& o) { o.k = 0; }).starts_with("moe.k must be at least 1"));
  CHECK(message_with([](MoeOptions& o) { o.experts = 0; }).starts_with("moe.experts must be"));
  CHECK(message_with([](MoeOptions& o) { o.hidden = 0; }).starts_with("moe.hidden must be"));
  CHECK(message_with([](MoeOptions& o) { o.dropout = 1.0; }).starts_with("moe.dropout must be"));
  CHECK(message_with([](MoeOptions& o) { o.init_alike = 1.5; }).starts_with("moe.init_alike must be"));
  CHECK(message_with([](MoeOptions& o) { o.balance_weight = -1.0; }).starts_with("moe.balance_weight must"));
  CHECK(message_with([](MoeOptions& o) { o.z_weight = kNan; }).starts_with("moe.z_weight must"));
  CHECK(
      message_with([](MoeOptions& o) { o.capacity_factor = -0.5; }).starts_with("moe.capacity_factor must"));
  CHECK(message_with([](MoeOptions& o) {
          o.balance = "swich";
        }).starts_with("moe.balance must be auto or one of switch, first_choice"));
  CHECK(message_with([](MoeOptions& o) {
          o.router_order = "softmax";
        }).starts_with("moe.router_order must be"));
  CHECK(message_with([](MoeOptions& o) {
          o.variant = "repo";
        }).starts_with("moe.variant must be paper, reference"));
}

TEST_CASE("bad options: what one router cannot do and another can") {
  const auto says = [](const std::string& router, const std::function<void(MoeOptions&)>& change,
                       std::int64_t k = 2) { return message_with(change, options_of(router, k)); };
  const auto scheduled = [](MoeOptions& o) { o.k_schedule.name = "linear"; };
  CHECK(says("smoe", scheduled).empty());
  CHECK(says("gshard", scheduled).starts_with("moe.k_schedule = linear: router gshard has a fixed number"));
  CHECK(says("switch", scheduled, 1).starts_with("moe.k_schedule = linear: router switch"));
  CHECK(says("hash", scheduled).starts_with("moe.k_schedule = linear: router hash"));
  const auto sequences = [](MoeOptions& o) { o.balance = "sequence"; };
  CHECK(says("xmoe", sequences).empty());
  CHECK(says("gshard", sequences)
            .starts_with("moe.balance = sequence: router gshard has a balance loss of its"));
  CHECK(says("hash", sequences).starts_with("moe.balance = sequence: router hash has no balance loss"));
  const auto other_order = [](MoeOptions& o) { o.router_order = "softmax_topk"; };
  CHECK(says("xmoe", other_order).empty());
  CHECK(says("noisy_topk", other_order).starts_with("moe.router_order = softmax_topk: router noisy_topk"));
  CHECK(says("sigmoid", other_order).starts_with("moe.router_order = softmax_topk: router sigmoid"));
  CHECK(says("compete", [](MoeOptions& o) {
          o.compete.distillation = "kl";
        }).starts_with("compete.distillation = kl belongs to compete.version = 1"));
  CHECK(says("compete", [](MoeOptions& o) {
          o.compete.combine_router = true;
        }).starts_with("compete.combine_router belongs to compete.version = 1"));
  CHECK(says("compete", [](MoeOptions& o) {
          o.compete.balance_responses = true;
        }).starts_with("compete.balance_responses belongs to compete.version = 1"));
  CHECK(says("compete", [](MoeOptions& o) {
          o.compete.version = 1;
          o.compete.hybrid = 0.1;
        }).starts_with("compete.hybrid belongs to compete.version = 2"));
  const auto crowded = [](MoeOptions& o) { o.layers = 61; };
  CHECK(says("smoe", crowded).empty());
  CHECK(says("compete", crowded).starts_with("compete.rate = 0.05 of 61 layers"));
  CHECK(says("compete", [](MoeOptions& o) {
          o.layers = 6;
          o.compete.rate = 0.5;
        }).empty());
  CHECK(says("smoe", [](MoeOptions& o) {
          o.similarity.min_tokens = 3;
        }).starts_with("similarity.min_tokens = 3: debiased CKA needs at least 4"));
}

TEST_CASE("absent losses name what is off, unused or not enabled") {
  const auto absent = [](const std::string& router, double z_weight) {
    MoeOptions options = options_of(router);
    options.z_weight = z_weight;
    return fmt::format("{}", fmt::join(absent_losses(options), ", "));
  };
  const std::string similarity = "similarity (similarity.enabled = false)";
  CHECK(absent("smoe", 0.0) == "z (moe.z_weight = 0), " + similarity);
  CHECK(absent("smoe", 0.1) == similarity);
  CHECK(absent("hash", 0.1) == "balance (router hash has none), z (router hash has none), " + similarity);
  CHECK(absent("stablemoe", 0.1) == "z (router stablemoe has none), " + similarity);
  CHECK(absent("stablemoe", 0.0) == similarity);

  MoeOptions options = options_of("compete");
  options.z_weight = 0.1;
  options.compete.diversity_weight = 0.0;
  options.similarity.beta = 0.0;
  const auto all = [&] { return fmt::format("{}", fmt::join(absent_losses(options), ", ")); };
  CHECK(all() == "diversity (compete.diversity_weight = 0), " + similarity);
  options.compete.version = 1;
  options.similarity.enabled = true;
  CHECK(all() == "similarity (similarity.beta = 0)");
}

TEST_CASE("options that change nothing are named, with the reason") {
  const auto idle = [](const std::string& router, const std::function<void(MoeOptions&)>& change) {
    MoeOptions o = options_of(router);
    o.router_bias = false;
    change(o);
    return fmt::format("{}", fmt::join(idle_options(o), ", "));
  };
  for (const std::string& router : router_names()) CHECK(idle(router, [](MoeOptions&) {}).empty());
  const auto jitter = [](MoeOptions& o) { o.jitter = 0.2; };
  CHECK(idle("smoe", jitter) == "moe.jitter (router switch only)");
  CHECK(idle("switch", jitter).empty());
  const auto k_max = [](MoeOptions& o) { o.k_schedule.k_max = 3; };
  CHECK(idle("smoe", k_max) == "moe.k_max (no moe.k_schedule)");
  CHECK(idle("hyper", k_max).empty());
  const auto rate = [](MoeOptions& o) { o.compete.rate = 0.2; };
  CHECK(idle("smoe", rate) == "compete.rate (router compete only)");
  CHECK(idle("compete", rate).empty());
  CHECK(idle("compete", [&](MoeOptions& o) {
          rate(o);
          o.compete.version = 1;
          o.compete.warmup = 0.2;
        }) == "compete.rate (compete.schedule = lambda), compete.warmup (version 2 of router compete only)");
  const auto sigma = [](MoeOptions& o) { o.similarity.sigma = 2.0; };
  CHECK(idle("smoe", sigma) == "similarity.sigma (similarity.enabled = false)");
  CHECK(idle("smoe", [&](MoeOptions& o) {
          sigma(o);
          o.similarity.enabled = true;
        }) == "similarity.sigma (similarity.kernel rbf only)");
  CHECK(idle("smoe", [&](MoeOptions& o) {
          sigma(o);
          o.similarity.enabled = true;
          o.similarity.kernel = "rbf";
        }).empty());
}

TEST_CASE("bad options: the routers") {
  const std::string unknown = message_with([](MoeOptions& o) { o.router = "smoee"; });
  CHECK(unknown.starts_with("moe.router must be one of smoe, noisy_topk"));
  CHECK(unknown.ends_with("got 'smoee'"));
  CHECK(message_with([](MoeOptions& o) { o.importance_weight = -1.0; }).starts_with("moe.importance_weight"));
  CHECK(message_with([](MoeOptions& o) { o.load_weight = kNan; }).starts_with("moe.load_weight"));
  CHECK(message_with([](MoeOptions& o) { o.jitter = 1.0; }).starts_with("moe.jitter must be in [0, 1)"));
  CHECK(message_with([](MoeOptions& o) { o.bias_update_rate = -0.1; }).starts_with("moe.bias_update_rate"));
  CHECK(message_with([](MoeOptions& o) { o.router_dim = -1; }).starts_with("moe.router_dim"));
  CHECK(message_with([](MoeOptions& o) {
          o.stablemoe.stage1 = 1.5;
        }).starts_with("stablemoe.stage1 must be in"));
  CHECK(message_with([](MoeOptions& o) {
          o.stablemoe.distilled_dim = 0;
        }).starts_with("stablemoe.distilled_dim"));
  CHECK(message_with([](MoeOptions& o) { o.hyper.size = 0; }).starts_with("hyper.size"));

  CHECK(message_with([](MoeOptions& o) { o.k = 2; }, options_of("switch")).find("moe.k must be 1, got 2") !=
        std::string::npos);
  CHECK(message_with([](MoeOptions& o) { o.k = 1; }, options_of("gshard")).find("moe.k must be 2, got 1") !=
        std::string::npos);
  for (const char* router : {"hash", "stablemoe"})
    CHECK(
        message_with([](MoeOptions& o) { o.vocab = 0; }, options_of(router)).find("size of the vocabulary") !=
        std::string::npos);
  CHECK(message_with([](MoeOptions& o) { o.steps = 0; }, options_of("stablemoe"))
            .find("number of training steps") != std::string::npos);
}

TEST_CASE("bad options: the schedule of k") {
  const auto with = [](const std::function<void(KScheduleOptions&)>& change, std::int64_t steps = 100) {
    return message_with([&](MoeOptions& o) {
      o.k_schedule.name = "linear";
      o.steps = steps;
      change(o.k_schedule);
    });
  };
  CHECK(with([](KScheduleOptions&) {}).empty());
  CHECK(with([](KScheduleOptions& s) { s.name = "liner"; }).find("got 'liner'") != std::string::npos);
  CHECK(with([](KScheduleOptions& s) { s.name = "none_decrease"; }).starts_with("moe.k_schedule must be"));
  CHECK(with([](KScheduleOptions& s) { s.k_min = -1; }).starts_with("moe.k_min must"));
  CHECK(with([](KScheduleOptions& s) { s.k_max = 5; }).find("moe.k_max must be in [0, 4]") !=
        std::string::npos);
  CHECK(with([](KScheduleOptions& s) {
          s.k_min = 3, s.k_max = 2;
        }).starts_with("moe.k_min = 3 and moe.k_max = 2"));
  CHECK(with([](KScheduleOptions&) {}, 0).find("number of training steps") != std::string::npos);
  // Routers whose recipe has a schedule need the number of steps without being asked for one.
  for (const char* router : {"smoe_dropout", "hyper"})
    CHECK(message_with([](MoeOptions& o) { o.steps = 0; }, options_of(router))
              .find("number of training steps") != std::string::npos);
}

TEST_CASE("bad options: competition") {
  const auto with = [](const std::function<void(CompeteOptions&)>& change) {
    return message_with([&](MoeOptions& o) { change(o.compete); }, options_of("compete"));
  };
  CHECK(with([](CompeteOptions&) {}).empty());
  CHECK(with([](CompeteOptions& c) { c.version = 3; }).starts_with("compete.version must be 1 or 2, got 3"));
  CHECK(with([](CompeteOptions& c) { c.response = "max"; }).starts_with("compete.response must be"));
  CHECK(with([](CompeteOptions& c) { c.schedule = "always"; }).starts_with("compete.schedule must be"));
  CHECK(with([](CompeteOptions& c) { c.schedule = "lambda"; }).find("compete.version = 1") !=
        std::string::npos);
  CHECK(with([](CompeteOptions& c) { c.distillation = "l1"; }).starts_with("compete.distillation must be"));
  CHECK(with([](CompeteOptions& c) { c.rate = 1.1; }).starts_with("compete.rate must be in [0, 1]"));
  CHECK(with([](CompeteOptions& c) { c.rate = kNan; }).starts_with("compete.rate must be in [0, 1]"));
  CHECK(with([](CompeteOptions& c) { c.warmup = -0.1; }).starts_with("compete.warmup must be"));
  CHECK(with([](CompeteOptions& c) { c.max_layers = 0; }).starts_with("compete.max_layers must"));
  CHECK(with([](CompeteOptions& c) { c.iteration = 0; }).starts_with("compete.iteration must"));
  CHECK(with([](CompeteOptions& c) { c.router_weight = -1.0; }).starts_with("compete.router_weight must"));
  CHECK(with([](CompeteOptions& c) {
          c.diversity_weight = -1.0;
        }).starts_with("compete.diversity_weight must"));
  CHECK(with([](CompeteOptions& c) { c.hybrid = -1.0; }).starts_with("compete.hybrid must"));
  CHECK(message_with(
            [](MoeOptions& o) {
              o.layers = 8;
              o.compete.rate = 0.5;
            },
            options_of("compete"))
            .find("more than compete.max_layers = 3 in every step") != std::string::npos);
}

TEST_CASE("similarity learning: what is left open follows the variant, what is said stays") {
  MoeOptions o = options_of("smoe");
  const auto resolved = [&] {
    const SimilarityOptions s = resolved_similarity(o);
    return fmt::format("{} {} {}", s.kernel, s.estimator, s.min_tokens);
  };
  CHECK(resolved_similarity(o).max_tokens == 256);
  CHECK(resolved() == "rbf_median debiased 4");
  o.similarity.estimator = "biased";
  CHECK(resolved() == "rbf_median biased 4");
  o.variant = "reference";
  CHECK(resolved() == "rbf biased 2");
  CHECK(resolved_similarity(o).max_tokens > 1'000'000'000);
  o.similarity.estimator = "debiased";
  CHECK(resolved() == "rbf debiased 4");
  o.similarity.estimator = "auto";
  o.similarity.kernel = "linear";
  o.similarity.min_tokens = 7;
  CHECK(resolved() == "linear biased 7");
}

TEST_CASE("bad options: similarity learning") {
  const auto with = [](const std::function<void(SimilarityOptions&)>& change) {
    return message_with([&](MoeOptions& o) {
      o.similarity.enabled = true;
      change(o.similarity);
    });
  };
  CHECK(with([](SimilarityOptions&) {}).empty());
  CHECK(with([](SimilarityOptions& s) { s.beta = -1.0; }).starts_with("similarity.beta must"));
  CHECK(with([](SimilarityOptions& s) { s.frequency = -1.0; }).starts_with("similarity.frequency must"));
  CHECK(with([](SimilarityOptions& s) {
          s.threshold = 1.0;
        }).starts_with("similarity.threshold = 1 can never"));
  CHECK(with([](SimilarityOptions& s) { s.threshold = kNan; }).starts_with("similarity.threshold = nan"));
  CHECK(with([](SimilarityOptions& s) { s.loss = "ckaa"; }).find("similarity.loss") != std::string::npos);
  CHECK(with([](SimilarityOptions& s) { s.kernel = "gauss"; }).find("similarity.kernel") !=
        std::string::npos);
  CHECK(
      with([](SimilarityOptions& s) { s.estimator = "HSIC1"; }).starts_with("similarity.estimator must be"));
  CHECK(with([](SimilarityOptions& s) { s.sigma = 0.0; }).starts_with("similarity.sigma must be positive"));
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
  CHECK(message_with(enable, options_of("hash", 1)).find("moe.router = hash has none") != std::string::npos);
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
      const MoeLayer layer(nn::Scope(store, "moe"), options_of(wanted), SmallLayer::kDim);
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
