// Sigmoid scores: experts do not compete in a softmax, so one that is liked takes nothing from the others.
//
//   s_t = sigmoid(W x_t (+ b))                      [N, E]
//   S_t = the k largest of s_t + c                  sigmoid: c = 0; loss_free: the selection bias
//   w_t = s_t[S_t] / sum of s_t[S_t]                k = 1: w_t = s_t[S_t], as the quotient would be the constant 1
//   balance loss on s_t / sum_e s_te                sigmoid only; in the reference, LibMoE, sequence by sequence
//
// loss_free balances without a loss that would disturb the task's gradient: after each training pass
//   c_e <- c_e + u sign(mean count - count_e)
// c decides who is chosen and never what a choice weighs; evaluation leaves it alone. u = loss_free.rate.
// Sources: DeepSeek-AI 2024 (DeepSeek-V3, arXiv 2412.19437), eq. 12-16; Wang et al. 2024 (Auxiliary-loss-free load
// balancing, arXiv 2408.15664), algorithm 1.

#include "moe/k_schedule.hpp"
#include "moe/routers/routers.hpp"
#include "moe/routers/score_map.hpp"
#include "ops/binary.hpp"
#include "ops/index.hpp"
#include "ops/reduce.hpp"
#include "ops/routing.hpp"
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
    update_rate_ = own.rate;
    selection_bias_ = scope.buffer("selection_bias", {options.experts}, scope.store().dtype());
  }

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) override {
    const Variable logits = scores_(x), scores = ops::sigmoid(logits);
    const bool loss_free = selection_bias_.defined();
    // Without a bias the logits choose: the sigmoid of large ones rounds to a tie.
    const Variable preference =
        loss_free ? ops::add(scores.detach(), Variable(selection_bias_)) : logits.detach();
    const Tensor best = ops::topk(preference, k_(ctx)).indices;
    Variable weights = ops::take_along_last(scores, best);
    if (best.size(1) > 1) weights = normalized(weights);
    if (loss_free && ctx.training) update_bias(best);
    return {.weights = weights,
            .experts = best,
            .logits = logits,
            .probabilities = loss_free ? Variable() : normalized(scores),
            .balance = loss_free ? 0.0 : 1.0};
  }

  nn::Account account() const override { return scores_.account(); }

 private:
  // Rows divided by their sum, which underflows only where all scores do.
  static Variable normalized(const Variable& scores) {
    return ops::div(scores, ops::scale(ops::sum(scores, -1, true), 1.0, 1e-20));
  }

  void update_bias(const Tensor& experts) const {
    const std::vector<double> counts =
        ops::expert_histogram(experts, selection_bias_.size(0)).to_vector<double>();
    const double mean = static_cast<double>(experts.numel()) / static_cast<double>(counts.size());
    std::vector<double> bias = selection_bias_.to_vector<double>();
    for (std::size_t e = 0; e < bias.size(); ++e) {
      const double lacking = mean - counts[e];
      bias[e] += update_rate_ * static_cast<double>((lacking > 0.0) - (lacking < 0.0));
    }
    selection_bias_.copy_from(Tensor::from(bias, selection_bias_.shape()).to(selection_bias_.dtype()));
  }

  KSchedule k_;
  ScoreMap scores_;
  double update_rate_ = 0.0;
  Tensor selection_bias_;  // [E]; undefined for the plain router
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
