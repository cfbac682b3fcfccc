// What a program says of the options before it begins: losses that are off, values that nothing reads, remarks.
#include <doctest/doctest.h>

#include "moe/options.hpp"
#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

MoeOptions options_of(const std::string& router, std::int64_t k = 2) {
  MoeOptions options = small_options();
  options.router = router;
  options.k = k;
  return options;
}

// Of the options as a program shows them before it begins.
std::string idle(MoeOptions options) {
  MoeOptions defaults;
  defaults.bias = true;  // as in small_options()
  defaults.router_bias = options.router_bias = false;
  nn::FieldList list, standard;
  options.sections(list);
  defaults.sections(standard);
  return fmt::format("{}", fmt::join(nn::idle_options(list, standard), ", "));
}

std::string losses_off(MoeOptions options) {
  nn::FieldList list;
  options.sections(list);
  return fmt::format("{}", fmt::join(nn::losses_off(list), ", "));
}

}  // namespace

TEST_CASE("losses that are off are named: at weight 0, without a source, not enabled") {
  const auto off = [](const std::string& router, double z_weight) {
    MoeOptions options = options_of(router);
    options.z_weight = z_weight;
    return losses_off(options);
  };
  const std::string similarity = "similarity (similarity.enabled = false)";
  CHECK(off("smoe", 0.0) == "z (moe.z_weight = 0), " + similarity);
  CHECK(off("smoe", 0.1) == similarity);
  CHECK(off("hash", 0.1) == "balance (router hash has none), z (router hash has none), " + similarity);
  CHECK(off("stablemoe", 0.1) == "z (router stablemoe has none), " + similarity);
  CHECK(off("remoe", 0.1) ==
        "z (router remoe has none), " + similarity);  // sparsity takes the place of balance
  CHECK(off("gshard", 0.0) == "z (moe.z_weight = 0), " + similarity);

  MoeOptions options = options_of("compete");
  options.z_weight = 0.1;
  options.set("compete.diversity_weight", 0.0);
  options.similarity.beta = 0.0;
  CHECK(losses_off(options) == "diversity (compete.diversity_weight = 0), " + similarity);
  options.similarity.enabled = true;
  CHECK(losses_off(options) == "diversity (compete.diversity_weight = 0), similarity (similarity.beta = 0)");
  options.set("compete.version", 1);
  CHECK(losses_off(options) == "diversity (compete.version = 2 only), similarity (similarity.beta = 0)");
  MoeOptions stable = options_of("stablemoe");
  stable.set("stablemoe.balance_weight", 0.0);
  CHECK(losses_off(stable).starts_with(
      "z (router stablemoe has none), balance (stablemoe.balance_weight = 0)"));
}

TEST_CASE("the weight of the balance loss: 0.01, but 0 for frozen routers, unless as published or as given") {
  for (const std::string& router : router_names()) {
    CAPTURE(router);
    const bool frozen = router == "random" || router == "smoe_dropout";
    MoeOptions options = options_of(router);
    CHECK(options.balance_alpha() == (frozen ? 0.0 : 0.01));
    CHECK((losses_off(options).find("balance (the paper of router " + router + " has none)") !=
           std::string::npos) == frozen);
    options.variant = Variant::reference;
    CHECK(options.balance_alpha() == 0.01);
    options.variant = Variant::paper;
    options.set("moe.balance_weight", 0.5);
    CHECK(options.balance_alpha() == 0.5);
    options.set("moe.balance_weight", "auto");
    CHECK(nn::is_auto(options.balance_weight));
  }
}

TEST_CASE("remarks: a lone expert of the variant reference, and a router that sees the future") {
  const auto remarks = [](const std::string& router, Variant variant, std::int64_t k, KShape shape,
                          std::int64_t k_min) {
    MoeOptions options = options_of(router, k);
    options.variant = variant;
    options.k_schedule = {.shape = shape, .k_min = k_min};
    return options.remarks();
  };
  const std::string lone = "moe.variant = reference: while a token has one expert, its weight is 1";
  const auto says_lone = [&](const std::vector<std::string>& all) {
    return all.size() == 1 && all[0].starts_with(lone);
  };
  CHECK(says_lone(remarks("smoe", Variant::reference, 1, KShape::none, 0)));
  CHECK(says_lone(remarks("hyper", Variant::reference, 2, KShape::linear, 1)));
  CHECK(remarks("smoe", Variant::paper, 1, KShape::none, 0).empty());
  CHECK(remarks("smoe", Variant::reference, 2, KShape::none, 0).empty());
  CHECK(remarks("smoe", Variant::reference, 1, KShape::linear, 2).empty());
  for (const KShape falls :
       {KShape::linear_decrease, KShape::multi_step_decrease})  // in the end a token has one
    CHECK(says_lone(remarks("smoe", Variant::reference, 2, falls, 1)));
  CHECK(remarks("smoe", Variant::reference, 1, KShape::cosine_decrease, 2).empty());
  CHECK(remarks("switch", Variant::reference, 1, KShape::none, 0).empty());
  for (const std::string& router : router_names()) {
    CAPTURE(router);
    const std::vector<std::string> all =
        remarks(router, Variant::paper, router == "switch" ? 1 : 2, KShape::none, 0);
    CHECK(all.size() == (router == "expert_choice" ? 1 : 0));
    if (!all.empty()) CHECK(all[0].starts_with("router expert_choice decides by the tokens behind a token"));
  }
}

TEST_CASE("options that nothing reads are named, with the reason") {
  for (const std::string& router : router_names())
    CHECK(idle(options_of(router)).find("(") == std::string::npos);
  const auto with = [](const std::string& router, const std::string& key, const nn::FieldValue& value) {
    return idle(options_of(router).set(key, value));
  };
  CHECK(with("smoe", "switch.jitter", 0.2) == "switch.jitter (router switch only)");
  CHECK(with("switch", "switch.jitter", 0.2).empty());
  CHECK(with("hash", "moe.balance_weight", 0.5) == "moe.balance_weight (router hash has none)");
  CHECK(with("stablemoe", "moe.balance_weight", 0.5) ==
        "moe.balance_weight (router stablemoe has a balance loss of its own)");
  CHECK(with("gshard", "moe.balance_weight", 0.5).empty());
  CHECK(with("smoe", "moe.k_max", 3) == "moe.k_max (no moe.k_schedule)");
  CHECK(with("smoe", "moe.k_min", 1) == "moe.k_min (no moe.k_schedule)");
  CHECK(with("hyper", "moe.k_max", 3).empty());
  CHECK(with("switch", "moe.k_max", 3) ==
        "moe.k_max (router switch has a fixed number of experts per token)");
  MoeOptions biased = options_of("hash");
  nn::FieldList list, standard;
  MoeOptions defaults;
  biased.sections(list);
  defaults.sections(standard);
  CHECK(nn::idle_options(list, standard) ==
        std::vector<std::string>{"moe.router_bias (router hash has no such bias)"});

  MoeOptions compete = options_of("compete").set("compete.rate", 0.2);
  CHECK(idle(compete).empty());
  CHECK(with("smoe", "compete.rate", 0.2) == "compete.rate (router compete only)");
  compete.set("compete.version", 1).set("compete.warmup", 0.2);
  CHECK(idle(compete) ==
        "compete.rate (compete.schedule = lambda), compete.warmup (compete.version = 2 only)");

  MoeOptions similar = options_of("smoe").set("similarity.sigma", 2.0);
  CHECK(idle(similar) == "similarity.sigma (similarity.enabled = false)");
  similar.similarity.enabled = true;
  CHECK(idle(similar) == "similarity.sigma (similarity.kernel rbf only)");
  similar.similarity.kernel = KernelChoice::rbf;
  CHECK(idle(similar).empty());
  similar.similarity.kernel = KernelChoice::automatic;
  similar.variant = Variant::reference;  // whose kernel is rbf
  CHECK(idle(similar).empty());
}

}  // namespace simsmoe::moe
