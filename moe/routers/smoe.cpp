// The plain sparse-MoE router: one linear map, the k largest scores win.
//
//   g_t = W x_t (+ b)                     W: [E, D], b: [E]
//   S_t = the k largest of g_t
//   w_t = softmax(g_t[S_t])               order topk_softmax (SimSMoE and CompeteSMoE as published in code)
//   w_t = softmax(g_t)[S_t]               order softmax_topk (Shazeer et al. 2017, the papers' equations; training with k = 1)
//
// The first form equals the second divided by its sum. The variant "reference" has a bias, as the published code
// has. Sources: Do et al. 2025 (SimSMoE, arXiv 2406.15883), eq. 1-2; Fedus et al. 2021 (Switch Transformer,
// arXiv 2101.03961), eq. 1-2.
//
// Two relatives whose map stays as it was drawn, so that the experts learn and the choice does not. What a balance loss
// can still teach are the tokens, and so the layers below: their papers have none, the published code of SimSMoE has
// (moe.variant = reference), and a moe.balance_weight gives them one.
//   random         k fixed
//   smoe_dropout   k grows while training, any k serves in inference: SMoE-Dropout, Chen et al. 2023 (Sparse MoE as
//                  the New Dropout, arXiv 2303.01610), section 3; schedules in moe/k_schedule.hpp

#include "moe/k_schedule.hpp"
#include "moe/routers/routers.hpp"
#include "moe/routers/score_map.hpp"

namespace simsmoe::moe {

namespace {

class SmoeRouter : public Router {
 public:
  SmoeRouter(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site, bool trainable)
      : k_(options, site.steps),
        order_(options.router_order),
        scores_(scope, options, site, options.reference(), trainable) {}

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) const override {
    return select_topk(scores_(x), k_.select(ctx, order_));
  }

  nn::Account account() const override { return scores_.account(); }

 private:
  KSchedule k_;
  SelectionOrder order_;
  ScoreMap scores_;
};

RouterKind kind(std::string name, bool trainable, RouterTraits traits) {
  const RouterMaker make = [trainable](const nn::Scope& scope, const MoeOptions& options,
                                       const nn::Site& site) {
    return std::make_unique<SmoeRouter>(scope, options, site, trainable);
  };
  return {.name = std::move(name), .make = make, .options = {}, .traits = always(traits)};
}

}  // namespace

RouterKind smoe_router() { return kind("smoe", true, {}); }

RouterKind random_router() {
  return kind("random", false, {.paper_balances = false, .taught_by_selection = false});
}

RouterKind smoe_dropout_router() {
  return kind("smoe_dropout", false,
              {.paper_balances = false, .k_recipe = KShape::linear, .taught_by_selection = false});
}

}  // namespace simsmoe::moe
