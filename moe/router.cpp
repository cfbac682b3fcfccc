// The selection that routers share.
#include "moe/router.hpp"

#include "ops/index.hpp"
#include "ops/routing.hpp"
#include "ops/softmax.hpp"

namespace simsmoe::moe {

std::unique_ptr<Router> make_router(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site) {
  return options.kind().make(scope, options, site);
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
