#pragma once
// What there is to know of a router before it is made: its name, what it can do, its options, its factory. The table of
// all kinds is moe/routers/table.cpp; a kind of your own goes into MoeOptions::custom_router.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "moe/balance_losses.hpp"
#include "moe/k_schedule.hpp"
#include "nn/feed_forward.hpp"

namespace simsmoe::moe {

class Router;
struct MoeOptions;

// Whose balance loss a layer has.
enum class BalanceSource : unsigned char {
  none,
  router,       // the router's, with options of its own
  router_form,  // the router's, with moe.balance_weight
  layer         // in the form of moe.balance, with moe.balance_weight
};

// What a router has and serves. Keys that do not apply to it are refused, or named at the start of a run.
struct RouterTraits {
  bool any_k = true;     // inference may use another number of experts than moe.k; moe.k_schedule
  bool map_bias = true;  // moe.router_bias
  bool order = true;     // its weights follow moe.router_order
  bool scores = true;    // it gives logits or probabilities, which name the runner-up of a single choice
  bool z_loss = true;    // moe.z_weight
  BalanceSource balance = BalanceSource::layer;
  bool paper_balances = true;  // moe.balance_weight = auto is not 0 for moe.variant = paper
  Balance published_balance = Balance::reference;  // what moe.balance = auto is for moe.variant = reference
  KShape k_recipe = KShape::none;                  // what moe.k_schedule = auto is
  bool capacity = true;                            // moe.capacity_factor
  // The task teaches it through the weights of KSchedule::select(): not through a single one in the variant reference.
  bool taught_by_selection = true;
  bool causal = true;  // what it does for a token does not depend on later ones
};

using RouterMaker = std::function<std::unique_ptr<Router>(const nn::Scope& scope, const MoeOptions& options,
                                                          const nn::Site& site)>;

struct RouterKind {
  std::string name = {};
  RouterMaker make = {};       // throws UserError when the options do not suit it
  nn::OptionSet options = {};  // the defaults of its section, which has its name
  std::function<RouterTraits(const MoeOptions&)> traits = {};  // empty: RouterTraits{}
};

const std::vector<RouterKind>& router_kinds();              // the table; the first is the default
const RouterKind* find_router_kind(std::string_view name);  // nullptr: unknown
std::vector<std::string> router_names();

}  // namespace simsmoe::moe
