// The layer: five steps, then its auxiliary losses and metrics.
#include "moe/moe_layer.hpp"

#include <algorithm>
#include <cmath>

#include "moe/expert_cka.hpp"
#include "nn/layers.hpp"
#include "ops/layout.hpp"
#include "ops/softmax.hpp"

namespace simsmoe::moe {

namespace {

const MoeOptions& validated(const MoeOptions& options) {
  validate(options);
  return options;
}

}  // namespace

MoeLayer::MoeLayer(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site)
    : options_(validated(options)),
      balance_(form_of(options.balance_form())),
      balance_weight_(options.balance_alpha()),
      step_load_(options.experts),
      path_(scope.path()),
      router_(make_router(scope / "router", options, site)),
      experts_(scope / "experts", options, site) {
  if (options.similarity.enabled) similarity_.emplace(scope / "similarity", options, site.dim);
}

Variable MoeLayer::forward(const Variable& x, nn::ForwardContext& ctx) const {
  const std::size_t first_term = ctx.losses.terms().size();
  const Variable tokens = ops::reshape(x, {x.shape().outer(-1), x.size(-1)});
  const RouterOutput route = router_->route(tokens, experts_, ctx);
  const DispatchPlan plan = make_plan(route.experts, options_.experts,
                                      ctx.training ? options_.capacity_factor : ctx.capacity_factor);
  // Cast before gathering: N rows instead of N * K.
  const Variable rows =
      ops::gather_tokens(nn::to_dtype(tokens, nn::compute_dtype(route.weights, ctx)), plan.partition);
  const Variable h = experts_.forward(rows, plan.partition.offsets, ctx);
  const Variable y = ops::combine_tokens(h, nn::to_dtype(route.weights, h.dtype()), plan.partition);
  if (ctx.training) {
    add_losses(route, x.rank() > 1 ? x.size(-2) : 1, ctx);
    if (similarity_) similarity_->learn(tokens, route, plan, h, experts_, path_, ctx);
  }
  if (ctx.collect_metrics) {
    add_load_metrics(plan, ctx);
    if (ctx.training) add_loss_metrics(first_term, ctx);
  }
  if (ctx.compare_experts) add_expert_metrics(tokens, route, ctx);
  return ops::reshape(y, x.shape());
}

void MoeLayer::add_losses(const RouterOutput& route, std::int64_t sequence, nn::ForwardContext& ctx) const {
  if (route.balance == 0.0 || route.experts.size(0) == 0) return;  // no means over no tokens
  if (balance_weight_ > 0.0) {
    const Variable probabilities =
        route.probabilities.defined() ? route.probabilities : ops::softmax(route.logits);
    const std::span<const Tensor> earlier =
        balance_.global ? step_load_.so_far(ctx) : std::span<const Tensor>();
    ctx.losses.add("balance", path_, route.balance * balance_weight_,
                   load_balance_loss(probabilities, route.experts, sequence, balance_, earlier));
    if (balance_.global) step_load_.observe(route, ctx);
  }
  if (options_.z_weight > 0.0 && route.logits.defined())
    ctx.losses.add("z", path_, options_.z_weight, z_loss(route.logits));
}

void MoeLayer::add_load_metrics(const DispatchPlan& plan, nn::ForwardContext& ctx) const {
  std::vector<double> load = plan.counts.to_vector<double>();
  double choices = 0.0, entropy = 0.0;
  for (const double count : load) choices += count;
  if (choices == 0.0) return;
  for (double& share : load) {
    share /= choices;
    if (share > 0.0) entropy -= share * std::log(share);
  }
  const auto tokens = static_cast<double>(plan.partition.position.size(0));
  const auto add = [&](std::string_view name, double value) {
    ctx.metrics.add(path_, std::string(name), value, nn::Combine::mean);
  };
  ctx.metrics.add(path_, "load", Tensor::from(load, {std::ssize(load)}), nn::Combine::mean);
  add("load_max", *std::ranges::max_element(load));
  add("load_min", *std::ranges::min_element(load));
  add("load_entropy", entropy);
  add("dropped", static_cast<double>(plan.dropped) / choices);
  add("k", choices / tokens);
}

void MoeLayer::add_loss_metrics(std::size_t first_term, nn::ForwardContext& ctx) const {
  for (std::size_t i = first_term; i < ctx.losses.terms().size(); ++i) {
    const nn::LossTerm& term = ctx.losses.terms()[i];
    ctx.metrics.add(path_, "loss/" + term.name, term.value.value(), nn::Combine::per_pass, term.weight);
  }
  if (similarity_) similarity_->add_metrics(path_, ctx);
}

void MoeLayer::add_expert_metrics(const Variable& tokens, const RouterOutput& route,
                                  nn::ForwardContext& ctx) const {
  const std::vector<PairCka> pairs = expert_cka(tokens.value(), route.experts, experts_);
  ctx.metrics.add(path_, "expert_cka_pairs", static_cast<double>(pairs.size()), nn::Combine::mean);
  if (pairs.empty()) return;
  double sum = 0.0;
  for (const PairCka& pair : pairs) sum += pair.value;
  ctx.metrics.add(path_, "expert_cka", sum / static_cast<double>(pairs.size()), nn::Combine::mean);
}

nn::Account MoeLayer::account() const {
  nn::Account sum = router_->account();
  const nn::Account one = experts_.account_of_one();
  sum.parameters += experts_.count() * one.parameters;
  sum.active_parameters += options_.k * one.parameters;
  sum.flops_per_token += static_cast<double>(options_.k) * one.flops_per_token;
  if (similarity_) sum.parameters += similarity_->parameters();  // used in training only
  return sum;
}

}  // namespace simsmoe::moe
