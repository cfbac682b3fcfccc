// Sigmoid scores: experts do not compete in a softmax, so one that is liked takes nothing from the others.
//
//   s_t = sigmoid(W x_t (+ b))                      [N, E]
//   S_t = the k largest of s_t + c                  sigmoid: c = 0; loss_free: the selection bias
//   w_t = s_t[S_t] / sum of s_t[S_t]                training with k = 1, paper: w_t = s_t[S_t], as the quotient would be 1
//   balance loss on s_t / sum_e s_te                sigmoid only; in the reference, LibMoE, sequence by sequence
//
// loss_free balances without a loss that would disturb the task's gradient: c moves by loss_free.rate once per optimizer
// step, against the load (SelectionBias in moe/balance_policy.hpp).
// Sources: DeepSeek-AI 2024 (DeepSeek-V3, arXiv 2412.19437), eq. 12-16; Wang et al. 2024 (Auxiliary-loss-free load
// balancing, arXiv 2408.15664), algorithm 1.

#include <optional>

#include "moe/balance_policy.hpp"
#include "moe/k_schedule.hpp"
#include "moe/routers/routers.hpp"
#include "moe/routers/score_map.hpp"
#include "ops/binary.hpp"
#include "ops/index.hpp"
#include "ops/reduce.hpp"
#include "ops/sort.hpp"
#include "ops/unary.hpp"

namespace simsmoe::moe {

namespace {

struct LossFreeOptions {
  double rate = 0.001;

  void fields(nn::FieldList& add) {
    add("rate", &rate, "step of the selection bias", nn::at_least(0)).formerly("moe.bias_update_rate");
  }
};

class SigmoidRouter : public Router {
 public:
  SigmoidRouter(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site)
      : k_(options, site.steps), scores_(scope, options, site, false) {}
  SigmoidRouter(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site,
                const LossFreeOptions& own)
      : SigmoidRouter(scope, options, site) {
    bias_.emplace(scope, options.experts, own.rate);
  }

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) const override {
    const Variable logits = scores_(x), scores = ops::sigmoid(logits);
    // Without a bias the logits choose: the sigmoid of large ones rounds to a tie.
    const Variable preference = bias_ ? bias_->preference(scores) : logits.detach();
    const Selection selection = k_.select(ctx, SelectionOrder::topk_softmax);
    const Tensor best = ops::topk(preference, selection.k).indices;
    Variable weights = ops::take_along_last(scores, best);
    if (selection.order == SelectionOrder::topk_softmax) weights = normalized(weights);
    RouterOutput out{.weights = weights, .experts = best, .logits = logits};
    if (bias_) {
      out.balance = 0.0;
      bias_->observe(out, ctx);
    } else {
      out.probabilities = normalized(scores);
    }
    return out;
  }

  nn::Account account() const override { return scores_.account(); }

 private:
  // Rows divided by their sum, which underflows only where all scores do.
  static Variable normalized(const Variable& scores) {
    return ops::div(scores, ops::add(ops::sum(scores, -1, true), 1e-20));
  }

  KSchedule k_;
  ScoreMap scores_;
  std::optional<SelectionBias> bias_;  // of loss_free
};

}  // namespace

RouterKind sigmoid_router() {
  return router_kind<SigmoidRouter>("sigmoid", {.order = false, .published_balance = Balance::sequence});
}

RouterKind loss_free_router() {
  return router_kind<SigmoidRouter, LossFreeOptions>(
      "loss_free", {.order = false, .z_loss = false, .balance = BalanceSource::none});
}

}  // namespace simsmoe::moe
