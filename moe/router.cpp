// The table of routers and the selection that they share.
#include "moe/router.hpp"

#include <algorithm>

#include "moe/routers/routers.hpp"
#include "ops/index.hpp"
#include "ops/routing.hpp"
#include "ops/softmax.hpp"

namespace simsmoe::moe {

namespace {

struct Entry {
  std::string_view name;
  std::unique_ptr<Router> (*make)(const nn::Scope& scope, const MoeOptions& options, std::int64_t dim);
  RouterTraits traits = {};
};

constexpr RouterTraits kFixedK{.any_k = false, .order = false};
constexpr RouterTraits kOwnWeights{.order = false};
constexpr RouterTraits kFixedKOwnBalance{.any_k = false, .balance_form = false, .order = false};
constexpr RouterTraits kOwnLosses{.balance_form = false, .z_loss = false, .order = false};
constexpr RouterTraits kNoLosses{.balance_loss = false, .balance_form = false, .z_loss = false};
constexpr RouterTraits kNoLossesOwnWeights{
    .balance_loss = false, .balance_form = false, .z_loss = false, .order = false};
constexpr RouterTraits kNothing{
    .any_k = false, .balance_loss = false, .balance_form = false, .z_loss = false, .order = false};

constexpr Entry kRouters[] = {
    {"smoe", make_smoe_router},
    {"noisy_topk", make_noisy_topk_router, kOwnLosses},
    {"switch", make_switch_router, kFixedK},
    {"gshard", make_gshard_router, kFixedKOwnBalance},
    {"sigmoid", make_sigmoid_router, kOwnWeights},
    {"loss_free", make_loss_free_router, kNoLossesOwnWeights},
    {"random", make_random_router, kNoLosses},
    {"hash", make_hash_router, kNothing},
    {"expert_choice", make_expert_choice_router, kNoLossesOwnWeights},
    {"xmoe", make_xmoe_router},
    {"stablemoe", make_stablemoe_router, kOwnLosses},
    {"stablemoe_lite", make_stablemoe_lite_router},
    {"smoe_dropout", make_smoe_dropout_router, kNoLosses},
    {"hyper", make_hyper_router, kNoLosses},
    {"compete", make_compete_router},
};

const Entry& find_router(const std::string& name) {
  const auto* const found = std::ranges::find(kRouters, name, &Entry::name);
  if (found == std::end(kRouters))
    throw UserError(
        fmt::format("moe.router must be one of {}, got '{}'", fmt::join(router_names(), ", "), name));
  return *found;
}

}  // namespace

std::vector<std::string> router_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kRouters) names.emplace_back(entry.name);
  return names;
}

RouterTraits router_traits(const std::string& name) { return find_router(name).traits; }

std::unique_ptr<Router> make_router(const nn::Scope& scope, const MoeOptions& options, std::int64_t dim) {
  if (options.custom_router) return options.custom_router(scope, options, dim);
  return find_router(options.router).make(scope, options, dim);
}

SelectionOrder selection_order_from_name(const std::string& name) {
  if (name == "topk_softmax") return SelectionOrder::topk_softmax;
  if (name == "softmax_topk") return SelectionOrder::softmax_topk;
  throw UserError(fmt::format("moe.router_order must be topk_softmax or softmax_topk, got '{}'", name));
}

RouterOutput select_topk(const Variable& logits, std::int64_t k, SelectionOrder order) {
  // Both orders choose by logits: softmax keeps their order, but may round two different ones to a tie.
  const Tensor best = ops::topk(logits.detach(), k).indices;
  return {.weights = weights_at(logits, best, order), .experts = best, .logits = logits};
}

Tensor chosen_mask(const Tensor& experts, std::int64_t num_experts, DType dtype) {
  const std::int64_t tokens = experts.size(0), k = experts.size(1);
  const std::vector<std::int64_t> choice = experts.to_vector<std::int64_t>();
  std::vector<double> mask(static_cast<std::size_t>(tokens * num_experts), 0.0);
  for (std::int64_t i = 0; i < tokens * k; ++i) {
    const std::int64_t expert = choice[static_cast<std::size_t>(i)];
    if (expert >= 0) mask[static_cast<std::size_t>(i / k * num_experts + expert)] = 1.0;
  }
  return Tensor::from(mask, {tokens, num_experts}).to(dtype).to(experts.device());
}

Variable weights_at(const Variable& logits, const Tensor& experts, SelectionOrder order) {
  const bool over_all = experts.size(1) == 1 || order == SelectionOrder::softmax_topk;
  return over_all ? ops::take_along_last(ops::softmax(logits), experts)
                  : ops::softmax(ops::take_along_last(logits, experts));
}

}  // namespace simsmoe::moe
