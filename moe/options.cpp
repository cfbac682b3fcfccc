// Range checks of the options, and the factory that hands MoE layers to the decoder.
#include "moe/options.hpp"

#include <limits>

#include "moe/balance_losses.hpp"
#include "moe/cka.hpp"
#include "moe/k_schedule.hpp"
#include "moe/moe_layer.hpp"
#include "moe/router.hpp"
#include "moe/similarity_losses.hpp"

namespace simsmoe::moe {

namespace {

void require(bool valid, const std::string& message) {
  if (!valid) throw UserError(message);
}

void at_least(double low, double value, std::string_view key) {
  require(value >= low, low == 0.0 ? fmt::format("{} must not be negative, got {}", key, value)
                                   : fmt::format("{} must be at least {}, got {}", key, low, value));
}

void within(double low, double high, double value, std::string_view key) {
  require(value >= low && value <= high,
          fmt::format("{} must be in [{}, {}], got {}", key, low, high, value));
}

void one_of(std::initializer_list<std::string_view> names, const std::string& value, std::string_view key) {
  for (const std::string_view name : names)
    if (value == name) return;
  throw UserError(fmt::format("{} must be {}, got '{}'", key, fmt::join(names, ", "), value));
}

void validate(const CompeteOptions& c, const MoeOptions& o) {
  require(c.version == 1 || c.version == 2, fmt::format("compete.version must be 1 or 2, got {}", c.version));
  one_of({"auto", "softplus", "norm", "relu", "silu", "sigmoid"}, c.response, "compete.response");
  one_of({"auto", "bernoulli", "lambda"}, c.schedule, "compete.schedule");
  one_of({"mse", "kl"}, c.distillation, "compete.distillation");
  within(0.0, 1.0, c.rate, "compete.rate");
  within(0.0, 1.0, c.warmup, "compete.warmup");
  at_least(1.0, static_cast<double>(c.max_layers), "compete.max_layers");
  at_least(1.0, static_cast<double>(c.iteration), "compete.iteration");
  at_least(0.0, c.router_weight, "compete.router_weight");
  at_least(0.0, c.diversity_weight, "compete.diversity_weight");
  at_least(0.0, c.hybrid, "compete.hybrid");
  const auto belongs_to = [&](std::int64_t version, bool set, std::string_view what) {
    require(!set || c.version == version,
            fmt::format("{} belongs to compete.version = {}, not to {}", what, version, c.version));
  };
  belongs_to(1, c.schedule == "lambda", "compete.schedule = lambda");
  belongs_to(1, c.distillation == "kl", "compete.distillation = kl");
  belongs_to(1, c.combine_router, "compete.combine_router");
  belongs_to(1, c.balance_responses, "compete.balance_responses");
  belongs_to(2, c.hybrid > 0.0, "compete.hybrid");
  require(o.router != "compete" || c.version == 1 ||
              c.rate * static_cast<double>(o.layers) <= static_cast<double>(c.max_layers),
          fmt::format("compete.rate = {} of {} layers is more than compete.max_layers = {} in every step",
                      c.rate, o.layers, c.max_layers));
}

void validate_similarity(const MoeOptions& o) {
  const SimilarityOptions s = resolved_similarity(o);
  check_similarity_loss(s.loss);
  cka_kernel_from_name(s.kernel);
  one_of({"debiased", "biased"}, s.estimator, "similarity.estimator");
  at_least(0.0, s.beta, "similarity.beta");
  at_least(0.0, s.frequency, "similarity.frequency");
  require(s.sigma > 0.0, fmt::format("similarity.sigma must be positive, got {}", s.sigma));
  at_least(2.0, static_cast<double>(s.min_tokens), "similarity.min_tokens");
  at_least(static_cast<double>(s.min_tokens), static_cast<double>(s.max_tokens), "similarity.max_tokens");
  require(!s.debiased() || s.loss != "cka" || s.min_tokens >= 4,
          fmt::format(
              "similarity.min_tokens = {}: debiased CKA needs at least 4 (similarity.estimator = biased: 2)",
              s.min_tokens));
  require(
      s.threshold < largest_likeness(s),
      fmt::format("similarity.threshold = {} can never be exceeded: similarity.loss = {} is at most {}; set "
                  "similarity.threshold below that",
                  s.threshold, s.loss, largest_likeness(s)));
  require(!s.enabled || o.experts >= 2,
          "similarity.enabled compares experts: moe.experts must be at least 2");
  constexpr std::int64_t kMostExperts = 4096;
  require(
      !s.enabled || o.experts <= kMostExperts,
      fmt::format("similarity.enabled counts all pairs of experts: moe.experts must be at most {}, got {}",
                  kMostExperts, o.experts));
  require(!s.enabled || o.k > 1 || o.custom_router || o.router != "hash",
          "similarity.enabled with moe.k = 1 compares with the runner-up, and moe.router = hash has none");
}

// What one router cannot do and another can.
void validate_for_router(const MoeOptions& o) {
  const RouterTraits traits = router_traits(o.router);
  const std::string& schedule = o.k_schedule.name;
  require(traits.any_k || schedule == "auto" || schedule == "none",
          fmt::format("moe.k_schedule = {}: router {} has a fixed number of experts per token", schedule,
                      o.router));
  require(traits.balance_form || o.balance == "auto",
          fmt::format("moe.balance = {}: router {} has {}", o.balance, o.router,
                      traits.balance_loss ? "a balance loss of its own" : "no balance loss"));
  require(traits.order || o.router_order == "topk_softmax",
          fmt::format("moe.router_order = {}: router {} has weights of its own", o.router_order, o.router));
}

}  // namespace

SimilarityOptions resolved_similarity(const MoeOptions& o) {
  SimilarityOptions s = o.similarity;
  if (s.kernel == "auto") s.kernel = o.reference() ? "rbf" : "rbf_median";
  if (s.estimator == "auto") s.estimator = o.reference() ? "biased" : "debiased";
  if (s.min_tokens == 0) s.min_tokens = o.reference() && s.estimator == "biased" ? 2 : 4;
  if (s.max_tokens == 0) s.max_tokens = o.reference() ? std::numeric_limits<std::int64_t>::max() : 256;
  return s;
}

void validate(const MoeOptions& o) {
  at_least(1.0, static_cast<double>(o.experts), "moe.experts");
  at_least(1.0, static_cast<double>(o.k), "moe.k");
  require(o.k <= o.experts,
          fmt::format("moe.k = {} is more than moe.experts = {}: a token cannot choose more "
                      "experts than there are",
                      o.k, o.experts));
  at_least(1.0, static_cast<double>(o.hidden), "moe.hidden");
  require(o.dropout >= 0.0 && o.dropout < 1.0,
          fmt::format("moe.dropout must be in [0, 1), got {}", o.dropout));
  within(0.0, 1.0, o.init_alike, "moe.init_alike");
  one_of({"paper", "reference"}, o.variant, "moe.variant");
  selection_order_from_name(o.router_order);
  if (o.balance != "auto") balance_form_from_name(o.balance);
  at_least(0.0, o.balance_weight, "moe.balance_weight");
  at_least(0.0, o.z_weight, "moe.z_weight");
  at_least(0.0, o.capacity_factor, "moe.capacity_factor");
  at_least(0.0, o.importance_weight, "moe.importance_weight");
  at_least(0.0, o.load_weight, "moe.load_weight");
  require(o.jitter >= 0.0 && o.jitter < 1.0, fmt::format("moe.jitter must be in [0, 1), got {}", o.jitter));
  at_least(0.0, o.bias_update_rate, "moe.bias_update_rate");
  at_least(0.0, static_cast<double>(o.router_dim), "moe.router_dim");
  within(0.0, static_cast<double>(o.experts), static_cast<double>(o.k_schedule.k_min), "moe.k_min");
  within(0.0, static_cast<double>(o.experts), static_cast<double>(o.k_schedule.k_max), "moe.k_max");
  if (o.k_schedule.name != "auto") KSchedule{o};
  if (!o.custom_router) validate_for_router(o);
  within(0.0, 1.0, o.stablemoe.stage1, "stablemoe.stage1");
  at_least(1.0, static_cast<double>(o.stablemoe.distilled_dim), "stablemoe.distilled_dim");
  at_least(0.0, o.stablemoe.balance_weight, "stablemoe.balance_weight");
  at_least(0.0, o.stablemoe.distill_weight, "stablemoe.distill_weight");
  at_least(1.0, static_cast<double>(o.hyper.size), "hyper.size");
  validate(o.compete, o);
  validate_similarity(o);
}

nn::FeedForwardFactory feed_forward_factory(MoeOptions options) {
  validate(options);
  return [options = std::move(options)](const nn::Scope& scope, std::int64_t dim, int index) {
    MoeOptions mine = options;
    mine.layer = index;
    SMX_CHECK(index < options.layers || options.router != "compete",
              "[moe] layer {} of a model that was said to have {}", index, options.layers);
    return std::make_unique<MoeLayer>(scope, mine, dim);
  };
}

}  // namespace simsmoe::moe
