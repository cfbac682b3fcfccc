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
  bool any_k = true;
  bool balance_loss = true;
};

constexpr Entry kRouters[] = {
    {"smoe", make_smoe_router},
    {"noisy_topk", make_noisy_topk_router},
    {"switch", make_switch_router, false},
    {"gshard", make_gshard_router, false},
    {"sigmoid", make_sigmoid_router},
    {"loss_free", make_loss_free_router, true, false},
    {"random", make_random_router, true, false},
    {"hash", make_hash_router, false, false},
    {"expert_choice", make_expert_choice_router, true, false},
    {"xmoe", make_xmoe_router},
    {"stablemoe", make_stablemoe_router},
    {"stablemoe_lite", make_stablemoe_lite_router},
    {"smoe_dropout", make_smoe_dropout_router, true, false},
    {"hyper", make_hyper_router, true, false},
    {"compete", make_compete_router},
};

}  // namespace

std::vector<std::string> router_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kRouters) names.emplace_back(entry.name);
  return names;
}

bool serves_any_k(const std::string& router) {
  return std::ranges::any_of(kRouters, [&](const Entry& e) { return e.name == router && e.any_k; });
}

bool has_balance_loss(const std::string& router) {
  return std::ranges::any_of(kRouters, [&](const Entry& e) { return e.name == router && e.balance_loss; });
}

std::unique_ptr<Router> make_router(const nn::Scope& scope, const MoeOptions& options, std::int64_t dim) {
  if (options.custom_router) return options.custom_router(scope, options, dim);
  for (const Entry& entry : kRouters)
    if (entry.name == options.router) return entry.make(scope, options, dim);
  throw UserError(
      fmt::format("moe.router must be one of {}, got '{}'", fmt::join(router_names(), ", "), options.router));
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
