// CompeteSMoE: in some steps all experts run on all tokens, and those that respond most strongly win; the router learns
// to foresee the outcome, which is all that there is in inference.
//
// Router step and inference:  g_t = W x_t (+ b), select_topk, the layer's balance and z-loss.
// Competition step (when: compete_schedule.hpp), with h_te = E_e(x_t), no dropout:
//   version 2  a_te = mean_c softplus(h_tec)                            S_t = the k largest of a_t
//              w_t  = a_t[S_t] / sum of a_t[S_t]                         linear, no softmax
//              L_router    = MSE(softmax(g), sg[softmax(a)])  (+ hybrid * the same on S only)
//              L_diversity = mean_t (1 / k^2) sum over i != j in S_t of cos(h_ti, h_tj)
//              balance loss of the layer on softmax(a), no z-loss
//   version 1  a_te = |h_te|  (combine_router: (|h_te| + g_te) / 2)
//              w_t  = softmax(a_t[S_t])                                  k = 1: softmax(a_t)[S_t]
//              q_t  = softmax of a_t over S_t, 0 elsewhere
//              L_router    = 5 MSE(softmax(g), sg[q])   or   5 mean_t KL(sg[q_t] || softmax(g_t));  no other loss, but
//              L_balance   = 5 times that of the layer on softmax(a), if compete.balance_responses
// sg[.] stops the gradient: the outcome teaches the router, and the router does not bend the outcome. The winners run a
// second time in the layer's own dispatch, which knows of capacity and dropout; that costs k of E + k expert passes.
//
// The variant reference: version 2 balances first choices, sequence by sequence; the map of version 1 has a bias, and its
// balance loss is divided by k.
// Version 1 as published builds softmax(g) from a list that is not in the order of the experts, lets q's gradient into
// the experts, counts an old loss again in steps without competition, and in one mode sends tokens to the wrong expert;
// none of that is reproduced. Other responses than softplus, norm and sigmoid can be 0 or change sign, and so can the
// sum below the fraction. Sources: Nguyen et al. 2025 (CompeteSMoE 2, arXiv 2505.13380) and its code; Pham et al. 2024
// (arXiv 2402.02526).

#include "moe/routers/compete.hpp"
#include "moe/experts.hpp"
#include "moe/k_schedule.hpp"
#include "moe/routers/compete_schedule.hpp"
#include "moe/routers/routers.hpp"
#include "moe/routers/score_map.hpp"
#include "moe/unit_rows.hpp"
#include "ops/choices.hpp"
#include "ops/compare.hpp"
#include "ops/index.hpp"
#include "ops/layout.hpp"
#include "ops/loss.hpp"
#include "ops/softmax.hpp"
#include "ops/sort.hpp"

namespace simsmoe::moe {

namespace {

constexpr double kVersion1Factor = 5.0;
constexpr double kTiny = 1e-30;  // a number with a logarithm in every dtype

// The outputs of all experts on all tokens, expert after expert. x: [N, D] -> [E * N, D]
Variable run_all(const Variable& x, const Experts& experts, const nn::ForwardContext& ctx, DType dtype) {
  const std::int64_t n = x.size(0), dim = x.size(1), all = experts.count();
  const Variable rows =
      ops::reshape(ops::broadcast_to(ops::reshape(x, {1, n, dim}), {all, n, dim}), {all * n, dim});
  std::vector<std::int64_t> offsets;
  for (std::int64_t e = 0; e <= all; ++e) offsets.push_back(e * n);
  nn::ForwardContext calm;  // no dropout
  calm.compute_dtype = ctx.compute_dtype;
  return nn::to_dtype(experts.forward(rows, Tensor::from(offsets, {all + 1}), calm), dtype);
}

class CompeteRouter : public Router {
 public:
  CompeteRouter(const nn::Scope& scope, const MoeOptions& o, const nn::Site& site, const CompeteOptions& own)
      : options_(own),
        k_(o, site.steps),
        order_(o.router_order),
        path_(scope.path()),
        scores_(scope, o, site, o.reference() && own.version == 1),
        schedule_(scope / "schedule", own, site) {
    if (options_.response == Response::automatic)
      options_.response = options_.version == 2 ? Response::softplus : Response::norm;
  }

  RouterOutput route(const Variable& x, const Experts& experts, nn::ForwardContext& ctx) const override {
    const Variable logits = scores_(x);
    if (!ctx.training || x.size(0) == 0 || !schedule_.competes(ctx))
      return select_topk(logits, k_.select(ctx, order_));
    const Variable outputs = run_all(x, experts, ctx, logits.dtype());
    const std::int64_t n = x.size(0), all = experts.count();
    const Variable strength = ops::transpose(ops::reshape(response(outputs), {all, n}));  // [E * N] -> [N, E]
    return options_.version == 2 ? compete(strength, logits, outputs, ctx)
                                 : compete_version1(strength, logits, ctx);
  }

  nn::Account account() const override { return scores_.account(); }

 private:
  // [rows, D] -> [rows]
  Variable response(const Variable& h) const {
    switch (options_.response) {
      case Response::norm:
        return row_lengths(h);
      case Response::relu:
        return ops::mean(ops::relu(h), -1);
      case Response::silu:
        return ops::mean(ops::silu(h), -1);
      case Response::sigmoid:
        return ops::mean(ops::sigmoid(h), -1);
      default:
        return ops::mean(ops::softplus(h), -1);
    }
  }

  RouterOutput compete(const Variable& strength, const Variable& logits, const Variable& outputs,
                       nn::ForwardContext& ctx) const {
    const Tensor best = ops::topk(strength.detach(), k_(ctx)).indices;
    const Variable kept = ops::take_along_last(strength, best), outcome = ops::softmax(strength);
    const Variable foreseen = ops::softmax(logits), target = outcome.detach();
    Variable loss = ops::mse(foreseen, target);
    if (options_.hybrid > 0.0)
      loss = ops::add(
          loss, ops::scale(ops::mse(ops::take_along_last(foreseen, best), ops::take_along_last(target, best)),
                           options_.hybrid));
    if (options_.router_weight > 0.0) ctx.losses.add("router", path_, options_.router_weight, loss);
    if (options_.diversity_weight > 0.0 && best.size(1) > 1)
      ctx.losses.add("diversity", path_, options_.diversity_weight, diversity(outputs, best));
    return {.weights = ops::div(kept, ops::add(ops::sum(kept, -1, true), 1e-20)),
            .experts = best,
            .logits = {},
            .probabilities = outcome};
  }

  // The sum of all cosines is the squared length of the sum of unit vectors. outputs: [E * N, D], best: [N, k] -> []
  static Variable diversity(const Variable& outputs, const Tensor& best) {
    const std::int64_t n = best.size(0), k = best.size(1);
    const Variable winners = ops::index_select(outputs, ops::rows_by_expert(best));
    const Variable unit = ops::reshape(unit_rows(winners), {n, k, outputs.size(1)});
    const Variable pairs = ops::sub(ops::sum(ops::square(ops::sum(unit, 1))), ops::sum(ops::square(unit)));
    return ops::scale(pairs, 1.0 / static_cast<double>(n * k * k));
  }

  RouterOutput compete_version1(Variable strength, const Variable& logits, nn::ForwardContext& ctx) const {
    if (options_.combine_router) strength = ops::scale(ops::add(strength, logits), 0.5);
    RouterOutput out = select_topk(strength, k_.select(ctx, SelectionOrder::topk_softmax));
    const Tensor winners = ops::choice_mask(out.experts, logits.size(1), DType::u8);
    const Variable lost(Tensor::full({}, -1e10, logits.dtype(), logits.device()));
    const Variable target = ops::softmax(ops::where(winners, strength.detach(), lost));
    if (options_.router_weight > 0.0)
      ctx.losses.add(
          "router", path_, options_.router_weight,
          ops::scale(options_.distillation == Distillation::kl ? kl(target, logits)
                                                               : ops::mse(ops::softmax(logits), target),
                     kVersion1Factor));
    out.logits = {};
    out.probabilities = ops::softmax(strength);
    out.balance = options_.balance_responses ? kVersion1Factor : 0.0;
    return out;
  }

  // mean_t sum_e q (log q - log softmax(g)); 0 log 0 = 0. q: a constant. [N, E], [N, E] -> []
  static Variable kl(const Variable& q, const Variable& logits) {
    const Variable log_q = ops::log(ops::maximum(q, kTiny));
    return ops::scale(ops::sum(ops::mul(q, ops::sub(log_q, ops::log_softmax(logits)))),
                      1.0 / static_cast<double>(logits.size(0)));
  }

  CompeteOptions options_;
  KSchedule k_;
  SelectionOrder order_;
  std::string path_;
  ScoreMap scores_;
  CompeteSchedule schedule_;
};

}  // namespace

RouterKind compete_router() {
  RouterKind kind = router_kind<CompeteRouter, CompeteOptions>("compete");
  kind.traits = [](const MoeOptions& options) {
    const bool second = options.router_options().as<CompeteOptions>().version == 2;
    return RouterTraits{.published_balance = second ? Balance::sequence_first_choice : Balance::reference};
  };
  return kind;
}

}  // namespace simsmoe::moe
