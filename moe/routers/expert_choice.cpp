// Expert choice: the experts choose tokens, so every expert has the same load by construction.
//
//   P = softmax(W x (+ b))                                  [N, E]
//   expert e takes the C tokens with the largest P_te       C = ceil(N k / E), at most N; ties: the earlier token
//   y_t = sum over the experts that took t of P_te E_e(x_t)
//
// k is the mean number of experts per token: a token may get none (the residual carries it) or all. No balance loss is
// needed. Beware: whether a token is taken depends on all tokens of the batch, later ones included, so a causal
// language model that is trained this way looks into the future, and what it does for a token changes with its company:
// generating one token at a time gives it to every expert. Use it to study balance, not to report perplexity.
// Source: Zhou et al. 2022 (arXiv 2202.09368), section 3.2.

#include <algorithm>

#include "moe/k_schedule.hpp"
#include "moe/routers/routers.hpp"
#include "moe/routers/score_map.hpp"
#include "ops/choices.hpp"
#include "ops/layout.hpp"
#include "ops/softmax.hpp"
#include "ops/sort.hpp"

namespace simsmoe::moe {

namespace {

class ExpertChoiceRouter : public Router {
 public:
  ExpertChoiceRouter(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site)
      : k_(options, site.steps), scores_(scope, options, site, false) {}

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) const override {
    const Variable logits = scores_(x), probabilities = ops::softmax(logits);
    const std::int64_t tokens = logits.size(0), all = logits.size(1);
    const std::int64_t each = std::min(tokens, (tokens * k_(ctx) + all - 1) / all);
    const Tensor taken = each > 0 ? ops::topk(ops::transpose(probabilities.detach()), each).indices
                                  : Tensor::empty({all, 0}, DType::i32, x.device());  // [E, C]
    return {.weights = probabilities,
            .experts = ops::choices_of_tokens(taken, tokens),
            .logits = logits,
            .balance = 0.0};
  }

  nn::Account account() const override { return scores_.account(); }

 private:
  KSchedule k_;
  ScoreMap scores_;
};

}  // namespace

RouterKind expert_choice_router() {
  return router_kind<ExpertChoiceRouter>("expert_choice", {.order = false,
                                                           .z_loss = false,
                                                           .balance = BalanceSource::none,
                                                           .capacity = false,
                                                           .taught_by_selection = false,
                                                           .causal = false});
}

}  // namespace simsmoe::moe
