#pragma once
// What configures a mixture-of-experts feed-forward: the sections [moe] and [similarity], and one section per router
// that has options. The equations behind each value are in the file of the router that reads it (moe/routers).

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "moe/router_kind.hpp"
#include "moe/similarity_options.hpp"

namespace simsmoe::moe {

struct MoeOptions {
  std::int64_t experts = 8;   // E
  std::int64_t k = 2;         // experts per token, 1 <= k <= E
  std::int64_t hidden = 256;  // F, inner size of one expert
  nn::Activation activation = nn::Activation::gelu;
  bool bias = false;        // of the experts' two linear maps
  double dropout = 0.0;     // after the activation inside an expert
  double init_alike = 0.0;  // share of the experts' initial weights that all have in common, 0 to 1

  std::string router = router_names().front();
  // A router of the user's own in place of the one that `router` names.
  RouterKind custom_router = {};
  // paper: as the paper's equations have it, but for what has a key of its own (router_order, similarity.kernel...);
  // reference: what the published code computes when it is run.
  Variant variant = Variant::paper;
  SelectionOrder router_order = SelectionOrder::topk_softmax;
  bool router_bias = false;
  Balance balance = Balance::automatic;
  double balance_weight = nn::kAuto;  // alpha; 0 turns the loss off; auto: balance_alpha()
  double z_weight = 0.0;              // of the router z-loss; 0 turns it off
  // 0: no token is dropped; else an expert takes at most C = ceil(factor * k * N / E) copies. In training: inference has
  // that of its context.
  double capacity_factor = 0.0;
  KScheduleOptions k_schedule = {};
  SimilarityOptions similarity = {};
  // The options of each router of the table, by its name.
  std::vector<std::pair<std::string, nn::OptionSet>> routers = default_router_options();

  // Sets a value by its key, as the command line does: set("xmoe.dim", 4). Throws UserError.
  MoeOptions& set(const std::string& key, const nn::FieldValue& value);
  // Those of the chosen router.
  const nn::OptionSet& router_options() const;

  const RouterKind& kind() const;  // throws UserError on an unknown router
  RouterTraits traits() const;     // of the router
  bool reference() const { return variant == Variant::reference; }
  Balance balance_form() const;  // `balance`, or what automatic stands for
  double balance_alpha() const;  // `balance_weight`, or what automatic stands for
  KShape k_shape() const;        // of the schedule of k, or what automatic stands for

  // What to know of the choices that were made, one sentence each; said at the start of a run.
  std::vector<std::string> remarks() const;

  // Adds all sections to the list. `unread` says why nothing reads them, if so.
  void sections(nn::FieldList& list, const std::string& unread = {});
  void fields(nn::FieldList& add);  // those of [moe]
  void check() const;               // throws UserError

  static std::vector<std::pair<std::string, nn::OptionSet>> default_router_options();
};

// Throws UserError naming the key ("moe.k ...") when a value is out of range or does not go with another.
void validate(const MoeOptions& options);

// Makes the MoE layer of every 'g' sublayer.
nn::FeedForwardFactory feed_forward_factory(MoeOptions options);

}  // namespace simsmoe::moe
