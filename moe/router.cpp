// The selection that routers share.
#include "moe/router.hpp"

#include "ops/index.hpp"
#include "ops/softmax.hpp"
#include "ops/sort.hpp"

namespace simsmoe::moe {

std::unique_ptr<Router> make_router(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site) {
  return options.kind().make(scope, options, site);
}

RouterOutput select_topk(const Variable& logits, const Selection& selection) {
  // Both orders choose by logits: softmax keeps their order, but may round two different ones to a tie.
  const Tensor best = ops::topk(logits.detach(), selection.k).indices;
  return {.weights = weights_at(logits, best, selection.order), .experts = best, .logits = logits};
}

Variable weights_at(const Variable& logits, const Tensor& experts, SelectionOrder order) {
  return order == SelectionOrder::softmax_topk ? ops::take_along_last(ops::softmax(logits), experts)
                                               : ops::softmax(ops::take_along_last(logits, experts));
}

}  // namespace simsmoe::moe
