// ReMoE: no top-k. A token runs on every expert whose score is above 0, none or all of them; what keeps the number near
// k is an L1 loss whose weight follows the sparsity that training shows. Routing is continuous: an expert enters and
// leaves with weight 0.
//
//   g_t = W x_t,  w_t = relu(g_t)                    W: [E, D], no bias; not normalised
//   y_t = sum over e with w_te > 0 of w_te E_e(x_t)  remoe.cap = C > 0: over the C largest of them
//   L   = lambda (E / (k N^2)) sum_e n_e sum_t w_te  n_e: tokens of e, a constant; with f_e = E n_e / (k N) that is
//                                                    lambda sum_e f_e mean_t w_te
//   S   = 1 - (choices made) / (N E)
//   after each step, with S the mean over its micro-batches and the MoE layers:
//     paper      lambda <- lambda a^sign(1 - k/E - S)              L is the mean over the MoE layers
//     reference  lambda <- lambda a if S < 1 - k/E, else lambda/a  L is the sum over them
//
// k = moe.k is a target. lambda begins at remoe.lambda0, far too small to matter: half of the pairs are active at first,
// and the model trains nearly dense for some hundred steps (1e-8 to 1e-2 takes 76 of a = 1.2). Plan memory for it.
// remoe.hold keeps lambda where it is, for fine-tuning. It stays within [1e-12, 1e4]. Evaluation routes the same way and
// moves nothing. The published code divides S by the number of all layers, so that with experts in every other one S
// never reaches the target and lambda grows without end; here by that of MoE layers. Source: Wang et al. 2024
// (arXiv 2412.14711), section 3, and its code.

#include "moe/balance_policy.hpp"
#include "moe/routers/routers.hpp"
#include "moe/routers/score_map.hpp"
#include "ops/binary.hpp"
#include "ops/choices.hpp"
#include "ops/compare.hpp"
#include "ops/index.hpp"
#include "ops/layout.hpp"
#include "ops/reduce.hpp"
#include "ops/sort.hpp"
#include "ops/unary.hpp"

namespace simsmoe::moe {

namespace {

constexpr double kSmallestLambda = 1e-12, kLargestLambda = 1e4;

struct RemoeOptions {
  std::int64_t cap = 0;
  double lambda0 = 1e-8;
  double multiplier = 1.2;
  bool hold = false;

  void fields(nn::FieldList& add) {
    add("cap", &cap, "experts per token, at most; 0: all of them", nn::between(0, 65536));
    add("lambda0", &lambda0, "weight of the sparsity loss at first",
        nn::between(kSmallestLambda, kLargestLambda));
    add("multiplier", &multiplier, "factor of that weight per step, up or down", nn::above(1))
        .read_if(!hold, "remoe.hold = true");
    add("hold", &hold, "keep the weight of the sparsity loss, for fine-tuning");
  }
};

// lambda, and how it moves. One number for the model, of which every layer keeps a copy: all learn from the same notes.
class SparsityWeight : public BalancePolicy {
 public:
  SparsityWeight(const nn::Scope& scope, const MoeOptions& o, const RemoeOptions& own)
      : experts_(o.experts),
        k_(o.k),
        multiplier_(own.multiplier),
        rests_on_target_(!o.reference()),
        lambda_(scope.buffer("lambda", {1}, DType::f64, own.lambda0)) {}

  Variable value(DType dtype) const { return ops::cast(Variable(lambda_), dtype); }

  // By whole numbers, so that a hit of the target is one: S < 1 - k/E where more choices were made than wanted.
  void end_step(std::span<const Tensor> seen, std::uint64_t /*step*/) const override {
    const Tensor sums = nn::sum_of(seen), made = sums.slice0(0, 1), wanted = sums.slice0(1, 2);
    const Variable now(lambda_), up = ops::scale(now, multiplier_), down = ops::scale(now, 1.0 / multiplier_);
    Variable next = ops::where(ops::greater(made, wanted), up, down);
    if (rests_on_target_) next = ops::where(ops::equal(made, wanted), now, next);
    lambda_.copy_from(ops::clamp(next, kSmallestLambda, kLargestLambda).value());
  }

 protected:
  // Choices made and wanted: f64 [2]
  Tensor seen(const RouterOutput& route) const override {
    const std::int64_t n = route.experts.size(0);
    const Variable counts(ops::choice_counts(route.experts, experts_, n, 0, DType::f64));
    const Tensor wanted = Tensor::full({1}, static_cast<double>(k_ * n), DType::f64, route.experts.device());
    return ops::concat({ops::reshape(ops::sum(counts), {1}), Variable(wanted)}, 0).value();
  }
  std::string group() const override { return "remoe.sparsity"; }

 private:
  std::int64_t experts_, k_;
  double multiplier_;
  bool rests_on_target_;
  Tensor lambda_;  // f64 [1]
};

class RemoeRouter : public Router {
 public:
  RemoeRouter(const nn::Scope& scope, const MoeOptions& o, const nn::Site& site, const RemoeOptions& own)
      : path_(scope.path()),
        map_(scope, site.dim, o.experts, {.bias = false, .init_std = site.init_std}),
        most_(own.cap > 0 ? std::min(own.cap, o.experts) : o.experts),
        k_(o.k),
        layer_share_(o.reference() ? 1.0 : 1.0 / static_cast<double>(site.count)),
        hold_(own.hold),
        weight_(scope, o, own) {}

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) const override {
    const Variable logits = ops::linear(nn::to_dtype(x, map_.weight.dtype()), map_.weight);
    const Tensor best = ops::topk(logits.detach(), most_).indices;
    const Variable weights = ops::relu(ops::take_along_last(logits, best));
    const Tensor zero = Tensor::zeros({}, weights.dtype(), x.device());
    RouterOutput out{
        .weights = weights,
        .experts = ops::keep_choices(best, ops::not_equal(weights.value(), zero)),  // NaN stays visible
        .logits = logits,
        .balance = 0.0};
    if (x.size(0) == 0) return out;
    if (ctx.training) {
      ctx.losses.add("sparsity", path_, layer_share_, sparsity_loss(out));
      if (!hold_) weight_.observe(out, ctx);
    }
    if (ctx.collect_metrics) add_metrics(out, ctx);
    return out;
  }

  nn::Account account() const override { return map_.account(); }

 private:
  Variable sparsity_loss(const RouterOutput& out) const {
    const std::int64_t n = out.experts.size(0), all = out.logits.size(1);
    const DType dtype = out.logits.dtype();
    const Variable counts(ops::choice_counts(out.experts, all, n, 0, dtype));    // [1, E]
    const Variable chosen(ops::choice_mask(out.experts, all, dtype));            // [N, E]
    const Variable sums = ops::sum(ops::mul(ops::relu(out.logits), chosen), 0);  // [E]
    const double factor = static_cast<double>(all) / (static_cast<double>(k_) * static_cast<double>(n * n));
    return ops::mul(ops::scale(ops::sum(ops::mul(counts, sums)), factor), weight_.value(dtype));
  }

  void add_metrics(const RouterOutput& out, nn::ForwardContext& ctx) const {
    const Variable chosen(ops::choice_mask(out.experts, out.logits.size(1), DType::f64));
    const Variable each = ops::sum(chosen, -1);                    // experts of a token: [N]
    const Variable none = ops::relu(ops::scale(each, -1.0, 1.0));  // 1 where there are 0
    ctx.metrics.add(path_, "sparsity", ops::scale(ops::mean(chosen), -1.0, 1.0).value(), nn::Combine::mean);
    ctx.metrics.add(path_, "lambda", weight_.value(DType::f64).value(), nn::Combine::last);
    ctx.metrics.add(path_, "most_experts", ops::max(each).value(), nn::Combine::max);
    ctx.metrics.add(path_, "without_expert", ops::mean(none).value(), nn::Combine::mean);
  }

  std::string path_;
  nn::Linear map_;
  std::int64_t most_, k_;
  double layer_share_;
  bool hold_;
  SparsityWeight weight_;
};

}  // namespace

RouterKind remoe_router() {
  return router_kind<RemoeRouter, RemoeOptions>("remoe", {.any_k = false,
                                                          .map_bias = false,
                                                          .order = false,
                                                          .z_loss = false,
                                                          .balance = BalanceSource::router,
                                                          .capacity = false,
                                                          .taught_by_selection = false});
}

}  // namespace simsmoe::moe
