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
#include "ops/layout.hpp"
#include "ops/routing.hpp"
#include "ops/softmax.hpp"

namespace simsmoe::moe {

namespace {

class ExpertChoiceRouter : public Router {
 public:
  ExpertChoiceRouter(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site)
      : k_(options, site.steps), scores_(scope, options, site, false) {}

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) override {
    const Variable logits = scores_(x), probabilities = ops::softmax(logits);
    const std::int64_t tokens = logits.size(0), all = logits.size(1);
    const std::int64_t each = std::min(tokens, (tokens * k_(ctx) + all - 1) / all);
    std::vector<std::int32_t> choice(static_cast<std::size_t>(tokens * all), -1);
    if (each > 0) {
      const Tensor taken = ops::topk(ops::transpose(probabilities.detach()), each).indices;  // [E, C]
      const std::vector<std::int64_t> token = taken.to_vector<std::int64_t>();
      for (std::int64_t e = 0; e < all; ++e)
        for (std::int64_t i = 0; i < each; ++i)
          choice[static_cast<std::size_t>(token[static_cast<std::size_t>(e * each + i)] * all + e)] =
              static_cast<std::int32_t>(e);
    }
    return {.weights = probabilities,
            .experts = Tensor::from(choice, {tokens, all}).to(x.device()),
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
  return router_kind<ExpertChoiceRouter>("expert_choice",
                                         {.order = false, .z_loss = false, .balance = BalanceSource::none});
}

}  // namespace simsmoe::moe
