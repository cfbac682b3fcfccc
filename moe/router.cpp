// The table of routers and the selection that they share.
#include "moe/router.hpp"

#include "moe/routers/routers.hpp"
#include "ops/index.hpp"
#include "ops/routing.hpp"
#include "ops/softmax.hpp"

namespace simsmoe::moe {

namespace {

struct Entry {
  std::string_view name;
  std::unique_ptr<Router> (*make)(const nn::Scope& scope, const MoeOptions& options, std::int64_t dim);
};

constexpr Entry kRouters[] = {
    {"smoe", make_smoe_router},
};

}  // namespace

std::vector<std::string> router_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kRouters) names.emplace_back(entry.name);
  return names;
}

std::unique_ptr<Router> make_router(const nn::Scope& scope, const MoeOptions& options, std::int64_t dim) {
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
  const ops::TopK best = ops::topk(logits, k);
  const bool over_all = k == 1 || order == SelectionOrder::softmax_topk;
  Variable weights =
      over_all ? ops::take_along_last(ops::softmax(logits), best.indices) : ops::softmax(best.values);
  return {std::move(weights), best.indices, logits};
}

}  // namespace simsmoe::moe
