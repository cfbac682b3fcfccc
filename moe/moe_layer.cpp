// The layer: five steps, then its auxiliary losses and metrics.
#include "moe/moe_layer.hpp"

#include <algorithm>
#include <cmath>

#include "nn/layers.hpp"
#include "ops/layout.hpp"

namespace simsmoe::moe {

namespace {

const MoeOptions& validated(const MoeOptions& options) {
  validate(options);
  return options;
}

}  // namespace

MoeLayer::MoeLayer(const nn::Scope& scope, const MoeOptions& options, std::int64_t dim)
    : options_(validated(options)),
      balance_(balance_form_from_name(options.balance)),
      path_(scope.path()),
      router_(make_router(scope / "router", options, dim)),
      experts_(scope / "experts", options, dim) {}

Variable MoeLayer::forward(const Variable& x, nn::ForwardContext& ctx) {
  const Variable tokens = ops::reshape(x, {x.shape().outer(-1), x.size(-1)});
  const RouterOutput route = router_->route(tokens, ctx);
  const DispatchPlan plan = make_plan(route.experts, options_.experts, options_.capacity_factor);
  // Cast before gathering: N rows instead of N * K.
  const Variable rows =
      ops::gather_tokens(nn::to_dtype(tokens, nn::compute_dtype(route.weights, ctx)), plan.partition);
  const Variable h = experts_.forward(rows, plan.partition.offsets, ctx);
  const Variable y = ops::combine_tokens(h, nn::to_dtype(route.weights, h.dtype()), plan.partition);
  if (ctx.training) add_losses(route, plan, ctx);
  if (ctx.collect_metrics) add_metrics(plan, ctx);
  return ops::reshape(y, x.shape());
}

void MoeLayer::add_losses(const RouterOutput& route, const DispatchPlan& plan,
                          nn::ForwardContext& ctx) const {
  if (!route.logits.defined() || route.logits.size(0) == 0) return;  // no means over no tokens
  if (options_.balance_weight > 0.0)
    ctx.losses.add("balance", path_, options_.balance_weight,
                   load_balance_loss(route.logits, plan.counts, options_.k, balance_));
  if (options_.z_weight > 0.0) ctx.losses.add("z", path_, options_.z_weight, z_loss(route.logits));
}

void MoeLayer::add_metrics(const DispatchPlan& plan, nn::ForwardContext& ctx) const {
  std::vector<double> load = plan.counts.to_vector<double>();
  double choices = 0.0, entropy = 0.0;
  for (const double count : load) choices += count;
  if (choices == 0.0) return;
  for (double& share : load) {
    share /= choices;
    if (share > 0.0) entropy -= share * std::log(share);
  }
  ctx.metrics[path_ + "/load_max"] = *std::ranges::max_element(load);
  ctx.metrics[path_ + "/load_min"] = *std::ranges::min_element(load);
  ctx.metrics[path_ + "/load_entropy"] = entropy;
  ctx.metrics[path_ + "/dropped"] = static_cast<double>(plan.dropped) / choices;
}

nn::Account MoeLayer::account() const {
  nn::Account sum = router_->account();
  const nn::Account one = experts_.account_of_one();
  sum.parameters += experts_.count() * one.parameters;
  sum.active_parameters += options_.k * one.parameters;
  sum.flops_per_token += static_cast<double>(options_.k) * one.flops_per_token;
  return sum;
}

}  // namespace simsmoe::moe
