// What a run says of its options before it begins: losses that are off, options that change nothing.
#include <algorithm>

#include "moe/options.hpp"
#include "moe/router.hpp"

namespace simsmoe::moe {

namespace {

// An option that may have no effect.
struct Row {
  std::string_view key;
  bool changed;  // from its default
  bool used;
  std::string_view why;  // else
};

void add_idle(std::vector<std::string>& idle, std::initializer_list<Row> rows) {
  for (const Row& row : rows)
    if (row.changed && !row.used) idle.push_back(fmt::format("{} ({})", row.key, row.why));
}

void add_idle_of_router(std::vector<std::string>& idle, const MoeOptions& o) {
  const MoeOptions d;
  const auto is = [&](std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, o.router) != names.end();
  };
  const bool balances = router_traits(o.router).balance_loss && !is({"noisy_topk", "stablemoe"});
  const bool has_bias = !is({"noisy_topk", "hash", "xmoe", "stablemoe", "stablemoe_lite", "hyper"});
  const std::string& schedule = o.k_schedule.name;
  const bool k_varies = schedule == "auto" ? is({"smoe_dropout", "hyper"}) : schedule != "none";
  const bool stable = is({"stablemoe"}), hyper = is({"hyper"});
  add_idle(idle,
           {{"moe.importance_weight", o.importance_weight != d.importance_weight, is({"noisy_topk"}),
             "router noisy_topk only"},
            {"moe.load_weight", o.load_weight != d.load_weight, is({"noisy_topk"}), "router noisy_topk only"},
            {"moe.jitter", o.jitter != d.jitter, is({"switch"}), "router switch only"},
            {"moe.bias_update_rate", o.bias_update_rate != d.bias_update_rate, is({"loss_free"}),
             "router loss_free only"},
            {"moe.router_dim", o.router_dim != d.router_dim, is({"xmoe"}), "router xmoe only"},
            {"moe.router_bias", o.router_bias != d.router_bias, has_bias, "this router has no such bias"},
            {"moe.balance_weight", o.balance_weight != d.balance_weight, balances,
             "this router has weights of its own, or no balance loss"},
            {"moe.k_min", o.k_schedule.k_min != 0, k_varies, "no moe.k_schedule"},
            {"moe.k_max", o.k_schedule.k_max != 0, k_varies, "no moe.k_schedule"},
            {"stablemoe.stage1", o.stablemoe.stage1 != d.stablemoe.stage1, stable, "router stablemoe only"},
            {"stablemoe.distilled_dim", o.stablemoe.distilled_dim != d.stablemoe.distilled_dim, stable,
             "router stablemoe only"},
            {"stablemoe.balance_weight", o.stablemoe.balance_weight != d.stablemoe.balance_weight, stable,
             "router stablemoe only"},
            {"stablemoe.distill_weight", o.stablemoe.distill_weight != d.stablemoe.distill_weight, stable,
             "router stablemoe only"},
            {"hyper.size", o.hyper.size != d.hyper.size, hyper, "router hyper only"},
            {"hyper.trainable", o.hyper.trainable != d.hyper.trainable, hyper, "router hyper only"}});
}

void add_idle_of_compete(std::vector<std::string>& idle, const MoeOptions& o) {
  const CompeteOptions &c = o.compete, d;
  const bool on = o.router == "compete", first = on && c.version == 1, second = on && c.version == 2;
  const bool lambda = first && c.schedule != "bernoulli";
  constexpr std::string_view kFirst = "version 1 of router compete only",
                             kSecond = "version 2 of router compete only", kAny = "router compete only";
  add_idle(idle, {{"compete.version", c.version != d.version, on, kAny},
                  {"compete.response", c.response != d.response, on, kAny},
                  {"compete.schedule", c.schedule != d.schedule, on, kAny},
                  {"compete.rate", c.rate != d.rate, on && !lambda, on ? "compete.schedule = lambda" : kAny},
                  {"compete.warmup", c.warmup != d.warmup, second, kSecond},
                  {"compete.max_layers", c.max_layers != d.max_layers, second, kSecond},
                  {"compete.iteration", c.iteration != d.iteration, lambda, "compete.schedule lambda only"},
                  {"compete.router_weight", c.router_weight != d.router_weight, on, kAny},
                  {"compete.diversity_weight", c.diversity_weight != d.diversity_weight, second, kSecond},
                  {"compete.hybrid", c.hybrid != d.hybrid, second, kSecond},
                  {"compete.distillation", c.distillation != d.distillation, first, kFirst},
                  {"compete.combine_router", c.combine_router != d.combine_router, first, kFirst},
                  {"compete.balance_responses", c.balance_responses != d.balance_responses, first, kFirst}});
}

void add_idle_of_similarity(std::vector<std::string>& idle, const MoeOptions& o) {
  const SimilarityOptions &s = o.similarity, d;
  const bool on = s.enabled, cka = on && s.loss == "cka", rbf = cka && resolved_similarity(o).kernel == "rbf";
  constexpr std::string_view kOff = "similarity.enabled = false";
  const std::string_view no_cka = on ? "similarity.loss cka only" : kOff;
  add_idle(idle, {{"similarity.beta", s.beta != d.beta, on, kOff},
                  {"similarity.frequency", s.frequency != d.frequency, on, kOff},
                  {"similarity.threshold", s.threshold != d.threshold, on, kOff},
                  {"similarity.loss", s.loss != d.loss, on, kOff},
                  {"similarity.kernel", s.kernel != d.kernel, cka, no_cka},
                  {"similarity.sigma", s.sigma != d.sigma, rbf, on ? "similarity.kernel rbf only" : kOff},
                  {"similarity.estimator", s.estimator != d.estimator, cka, no_cka},
                  {"similarity.normalize", s.normalize != d.normalize, cka, no_cka},
                  {"similarity.reuse_outputs", s.reuse_outputs != d.reuse_outputs, on, kOff},
                  {"similarity.min_tokens", s.min_tokens != d.min_tokens, on, kOff},
                  {"similarity.max_tokens", s.max_tokens != d.max_tokens, on, kOff}});
}

}  // namespace

std::vector<std::string> absent_losses(const MoeOptions& o) {
  std::vector<std::string> absent;
  const auto note = [&](bool off, std::string_view loss, std::string_view key) {
    if (off) absent.push_back(fmt::format("{} ({} = 0)", loss, key));
  };
  const RouterTraits traits = o.custom_router ? RouterTraits{} : router_traits(o.router);
  if (o.router == "noisy_topk") {
    note(o.importance_weight == 0.0, "importance", "moe.importance_weight");
    note(o.load_weight == 0.0, "load", "moe.load_weight");
  } else if (o.router == "stablemoe") {
    note(o.stablemoe.balance_weight == 0.0, "balance", "stablemoe.balance_weight");
    note(o.stablemoe.distill_weight == 0.0, "distill", "stablemoe.distill_weight");
  } else if (traits.balance_loss) {
    note(o.balance_weight == 0.0, "balance", "moe.balance_weight");
  } else {
    absent.push_back(fmt::format("balance (router {} has none)", o.router));
  }
  if (traits.z_loss)
    note(o.z_weight == 0.0, "z", "moe.z_weight");
  else if (o.z_weight > 0.0)
    absent.push_back(fmt::format("z (router {} has none)", o.router));
  if (o.router == "compete") {
    note(o.compete.router_weight == 0.0, "router", "compete.router_weight");
    note(o.compete.version == 2 && o.compete.diversity_weight == 0.0, "diversity",
         "compete.diversity_weight");
  }
  if (!o.similarity.enabled) absent.emplace_back("similarity (similarity.enabled = false)");
  note(o.similarity.enabled && o.similarity.beta == 0.0, "similarity", "similarity.beta");
  return absent;
}

std::vector<std::string> idle_options(const MoeOptions& o) {
  std::vector<std::string> idle;
  if (!o.custom_router) {  // which may read any of them
    add_idle_of_router(idle, o);
    add_idle_of_compete(idle, o);
  }
  add_idle_of_similarity(idle, o);
  return idle;
}

}  // namespace simsmoe::moe
