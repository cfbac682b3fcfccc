// The description of [moe], what its values ask of each other, and the factory that hands MoE layers to the decoder.
#include "moe/options.hpp"

#include <algorithm>

#include "moe/moe_layer.hpp"

namespace simsmoe::moe {

namespace {

constexpr double kUsualAlpha = 0.01;

void require(bool valid, const std::string& message) {
  if (!valid) throw UserError(message);
}

}  // namespace

std::vector<std::pair<std::string, nn::OptionSet>> MoeOptions::default_router_options() {
  std::vector<std::pair<std::string, nn::OptionSet>> all;
  for (const RouterKind& kind : router_kinds())
    if (!kind.options.empty()) all.emplace_back(kind.name, kind.options);
  return all;
}

MoeOptions& MoeOptions::set(const std::string& key, const nn::FieldValue& value) {
  nn::FieldList list;
  sections(list);
  nn::store(list.at(key), value);
  return *this;
}

const nn::OptionSet& MoeOptions::router_options() const {
  if (custom_router.make) return custom_router.options;
  const auto found = std::ranges::find(routers, router, &std::pair<std::string, nn::OptionSet>::first);
  return found == routers.end() ? kind().options : found->second;
}

const RouterKind& MoeOptions::kind() const {
  if (custom_router.make) return custom_router;
  if (const RouterKind* known = find_router_kind(router)) return *known;
  throw UserError(
      fmt::format("moe.router must be one of {}, got '{}'", fmt::join(router_names(), ", "), router));
}

RouterTraits MoeOptions::traits() const {
  const RouterKind& mine = kind();
  return mine.traits ? mine.traits(*this) : RouterTraits{};
}

Balance MoeOptions::balance_form() const {
  if (balance != Balance::automatic) return balance;
  return reference() ? traits().published_balance : Balance::all_choices;
}

double MoeOptions::balance_alpha() const {
  if (!nn::is_auto(balance_weight)) return balance_weight;
  return traits().paper_balances || reference() ? kUsualAlpha : 0.0;
}

std::vector<std::string> MoeOptions::remarks() const {
  const RouterTraits has = traits();
  std::vector<std::string> all;
  constexpr std::int64_t kSteps = 1000;
  const KSchedule schedule(*this, kSteps);
  const bool alone = schedule.at(0) == 1 || schedule.at(kSteps) == 1;
  if (reference() && has.taught_by_selection && alone)
    all.push_back(
        "moe.variant = reference: while a token has one expert, its weight is 1 and the task has no gradient "
        "for the router");
  if (!has.causal)
    all.push_back(fmt::format(
        "router {} decides by the tokens behind a token, too: a language model that it trains sees "
        "the future, and its loss is no measure",
        kind().name));
  return all;
}

KShape MoeOptions::k_shape() const {
  return k_schedule.shape == KShape::automatic ? traits().k_recipe : k_schedule.shape;
}

void MoeOptions::sections(nn::FieldList& list, const std::string& unread) {
  list.section("moe", *this, unread);
  for (auto& [name, options] : routers) {
    const bool chosen = !custom_router.make && name == router;
    list.section(name, options, !unread.empty() || chosen ? unread : fmt::format("router {} only", name));
  }
  if (!custom_router.options.empty()) list.section(custom_router.name, custom_router.options, unread);
  list.section("similarity", similarity, unread, variant);
}

void MoeOptions::fields(nn::FieldList& add) {
  const bool known = custom_router.make || find_router_kind(router) != nullptr;
  const RouterTraits has = known ? traits() : RouterTraits{};
  const std::string name = custom_router.make ? custom_router.name : router;
  const bool balances = has.balance == BalanceSource::layer || has.balance == BalanceSource::router_form;
  const bool off_by_recipe = known && nn::is_auto(balance_weight) && balance_alpha() == 0.0;
  const std::string off_reason = fmt::format("the paper of router {} has none", name);
  const std::string no_balance = has.balance == BalanceSource::none
                                     ? fmt::format("router {} has none", name)
                                     : fmt::format("router {} has a balance loss of its own", name);
  add("experts", &experts, "experts per layer (E)", nn::between(1, 65536));
  add("k", &k,
      "experts that each token uses, or a mean to aim at where the router chooses how many; at most "
      "moe.experts",
      nn::between(1, 65536));
  add("hidden", &hidden, "inner size of one expert (F)", nn::between(1, 1 << 20));
  add("router", &router, "how tokens choose experts").one_of(router_names());
  add("variant", &variant,
      "of router, balance loss and similarity learning: the paper's equations, or what the published code "
      "computes");
  add("router_order", &router_order, "softmax over the k kept scores, or the k largest of the softmax")
      .read_if(has.order, fmt::format("router {} has weights of its own", name));
  add("router_bias", &router_bias, "bias of the router")
      .read_if(has.map_bias, fmt::format("router {} has no such bias", name));
  add("activation", &activation, "inside an expert");
  add("bias", &bias, "bias in the experts' two linear maps");
  add("dropout", &dropout, "inside an expert, after the activation", nn::from_to_below(0, 1));
  add("init_alike", &init_alike, "share of the experts' initial weights that all have in common",
      nn::between(0, 1));
  add("balance", &balance,
      "form of the load-balance loss: over all choices or the first ones, of the micro-batch, of each "
      "sequence, "
      "or (global) of all micro-batches of the step so far; "
      "auto: switch for moe.variant = paper, else as the router's published code has it")
      .read_if(has.balance == BalanceSource::layer, no_balance)
      .read_if(!off_by_recipe, off_reason);
  add("balance_weight", &balance_weight,
      "weight of the load-balance loss; 0 turns it off; auto: 0.01, but 0 for a router whose paper has none",
      nn::at_least(0))
      .automatic()
      .turns_off(has.balance == BalanceSource::router ? ""
                                                      : "balance")  // else a loss of the same purpose is on
      .read_if(balances, no_balance)
      .read_if(!off_by_recipe, off_reason);
  add("z_weight", &z_weight, "weight of the router z-loss; 0 turns it off", nn::at_least(0))
      .turns_off("z")
      .read_if(has.z_loss, fmt::format("router {} has none", name));
  add("capacity_factor", &capacity_factor,
      "in training an expert takes at most ceil(factor * k * tokens / experts) tokens; 0: no token is "
      "dropped",
      nn::at_least(0))
      .read_if(has.capacity, fmt::format("router {} drops no token", name));
  const bool fixed_k = k_schedule.shape == KShape::automatic && has.k_recipe == KShape::none;
  add.part(k_schedule,
           has.any_k ? "" : fmt::format("router {} has a fixed number of experts per token", name),
           fixed_k || k_schedule.shape == KShape::none);
}

void MoeOptions::check() const {
  const RouterTraits has = traits();
  const std::string& name = kind().name;
  require(k <= experts,
          fmt::format("moe.k = {} is more than moe.experts = {}: a token cannot choose more experts than "
                      "there are",
                      k, experts));
  if (k_shape() != KShape::none) k_schedule.check(experts);
  require(has.any_k || k_shape() == KShape::none,
          fmt::format("moe.k_schedule = {}: router {} has a fixed number of experts per token",
                      nn::name_of(k_schedule.shape), name));
  require(has.balance == BalanceSource::layer || balance == Balance::automatic,
          fmt::format("moe.balance = {}: router {} has {}", nn::name_of(balance), name,
                      has.balance == BalanceSource::none ? "no balance loss" : "a balance loss of its own"));
  require(has.order || router_order == SelectionOrder::topk_softmax,
          fmt::format("moe.router_order = {}: router {} has weights of its own", nn::name_of(router_order),
                      name));
  require(has.capacity || capacity_factor == 0.0,
          fmt::format("moe.capacity_factor = {}: router {} drops no token", capacity_factor, name));
  for (const auto& [section, options] : routers) options.check();
  custom_router.options.check();
  similarity.check(variant, experts);
  require(!similarity.enabled || k > 1 || has.scores,
          fmt::format("similarity.enabled with moe.k = 1 compares with the runner-up, and router {} has none",
                      name));
}

void validate(const MoeOptions& options) {
  MoeOptions copy = options;
  nn::FieldList list;
  copy.sections(list);
  nn::check_limits(list);
  copy.check();
}

nn::FeedForwardFactory feed_forward_factory(MoeOptions options) {
  validate(options);
  return [options = std::move(options)](const nn::Scope& scope, const nn::Site& site) {
    return std::make_unique<MoeLayer>(scope, options, site);
  };
}

}  // namespace simsmoe::moe
