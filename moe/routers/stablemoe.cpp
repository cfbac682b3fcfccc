// StableMoE: learn to route, write the routing down in a table of words, then freeze it.
//
// Stage 1, the first part of the training (stablemoe.stage1):
//   s_t = C x_t                                    C: [E, D]
//   S_t = the k largest of s_t
//   w_t = sigmoid(s_t[S_t]) where k = 1 is trained, softmax(s_t[S_t]) else
//   L_balance = (1/N) sum_e (n_e - n) / n  sum over t with e in S_t of sigmoid(s_te),   n = mean of the loads n_e
//   L_distill = mean over t and a in S_t of -log softmax(C' d_t)_a,                      d_t = table[id_t]: [V, 50]
// The load counts are constants; the balance teaches C and the tokens. The distillation teaches C' and the table only.
// Stage 2, the rest, and every evaluation:
//   S_t = the k largest of C' d_t, without gradient, so that C' and the table stay;  w_t as before from s_t
// There are no losses beside the task's; C goes on learning through the weights. A word always goes the same way, so
// training no longer moves the tokens about. Stage 2 is never left again, and is part of the checkpoint.
//
// The paper has k = 1 and one such layer with sums over tokens that share the task's normaliser; the task loss here is
// a mean, hence 1/N. k > 1 is ours. Source: Dai et al. 2022 (arXiv 2204.08396), section 3; the authors' code.
//
// stablemoe_lite is what the code of SimSMoE and CompeteSMoE runs under this name: no second stage, no distillation.
//   g_t = C^ x_t with the rows of C^ of length 1, then select_topk; balance loss on softmax(g / 0.3), there in the form
//   of the variant reference

#include "moe/k_schedule.hpp"
#include "moe/routers/routers.hpp"
#include "moe/routers/token_ids.hpp"
#include "moe/unit_rows.hpp"
#include "nn/layers.hpp"
#include "ops/choices.hpp"
#include "ops/index.hpp"
#include "ops/matmul.hpp"
#include "ops/softmax.hpp"
#include "ops/sort.hpp"

namespace simsmoe::moe {

namespace {

struct StableMoeOptions {
  double stage1 = 0.1;
  std::int64_t distilled_dim = 50;
  double balance_weight = 0.3;
  double distill_weight = 0.3;

  void fields(nn::FieldList& add) {
    add("stage1", &stage1, "part of the training before the distilled router takes over", nn::between(0, 1));
    add("distilled_dim", &distilled_dim, "width of the word embedding that routes", nn::between(1, 65536));
    add("balance_weight", &balance_weight, "weight of its balance loss", nn::at_least(0))
        .turns_off("balance");
    add("distill_weight", &distill_weight, "weight of the distillation loss", nn::at_least(0))
        .turns_off("distill");
  }
};

class StableMoeRouter : public Router, public nn::Learner {
 public:
  StableMoeRouter(const nn::Scope& scope, const MoeOptions& o, const nn::Site& site,
                  const StableMoeOptions& own)
      : options_(own),
        k_(o, site.steps),
        path_(scope.path()),
        first_of_stage2_(own.stage1 * static_cast<double>(site.steps)) {
    require_vocabulary("stablemoe", site);
    if (site.steps < 1)
      throw UserError("moe.router = stablemoe has two stages and needs the number of training steps");
    const std::int64_t d = options_.distilled_dim;
    centroids_ = scope.parameter("centroids", {o.experts, site.dim}, nn::init::orthogonal(0.1));
    words_ = scope.parameter("word_embedding", {site.vocab, d},
                             nn::init::normal(1.0 / std::sqrt(static_cast<double>(d))),
                             {.trainable = true, .decay = false});
    distilled_ = scope.parameter("distilled", {o.experts, d}, nn::init::orthogonal(0.1));
    stage_ = scope.buffer("stage", {1}, DType::i64, 1.0);
  }

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) const override {
    const Variable scores = ops::linear(nn::to_dtype(x, centroids_.dtype()), centroids_);
    const bool over = static_cast<double>(ctx.step) >= first_of_stage2_;
    if (ctx.training && over) ctx.observed.note(*this, {});
    const bool stage1 = ctx.training && !over && stage_.to_vector<std::int64_t>()[0] == 1;
    const Tensor ids = token_ids("stablemoe", ctx, x.size(0));
    const Tensor best = ops::topk((stage1 ? scores : distilled_scores(ids)).detach(), k_(ctx)).indices;
    if (stage1 && x.size(0) > 0) add_losses(scores, ids, best, ctx);
    const Variable kept = ops::take_along_last(scores, best);
    return {.weights = k_.single(ctx) ? ops::sigmoid(kept) : ops::softmax(kept),
            .experts = best,
            .logits = scores,
            .balance = 0.0};
  }

  nn::Account account() const override {
    const std::int64_t d = distilled_.size(1);
    const std::int64_t maps = centroids_.value().numel() + distilled_.value().numel();
    return {maps + words_.value().numel(), maps + d, 2.0 * static_cast<double>(maps)};
  }

  // A pass was in the time of stage 2.
  void end_step(std::span<const Tensor> /*seen*/, std::uint64_t /*step*/) const override { stage_.fill(2.0); }

 private:
  Variable distilled_scores(const Tensor& ids) const {  // [N] -> [N, E]
    return ops::linear(ops::embedding(words_, ids), distilled_);
  }

  void add_losses(const Variable& scores, const Tensor& ids, const Tensor& best,
                  nn::ForwardContext& ctx) const {
    const auto tokens = static_cast<double>(best.size(0));
    const std::int64_t all = scores.size(1);
    if (options_.balance_weight > 0.0) {
      const double mean_load = tokens * static_cast<double>(best.size(1)) / static_cast<double>(all);
      const Variable load(ops::choice_counts(best, all, best.size(0), 0, DType::f64));  // [1, E]
      const Variable excess = ops::cast(ops::div(ops::sub(load, mean_load), mean_load), scores.dtype());
      const Variable mine =
          ops::mul(ops::sigmoid(scores), Variable(ops::choice_mask(best, all, scores.dtype())));
      ctx.losses.add("balance", path_, options_.balance_weight,
                     ops::scale(ops::sum(ops::mul(mine, excess)), 1.0 / tokens));
    }
    if (options_.distill_weight > 0.0) {
      const Variable log_p = ops::log_softmax(distilled_scores(ids));
      ctx.losses.add("distill", path_, options_.distill_weight,
                     ops::neg(ops::mean(ops::take_along_last(log_p, best))));
    }
  }

  StableMoeOptions options_;
  KSchedule k_;
  std::string path_;
  double first_of_stage2_;
  Variable centroids_, words_, distilled_;  // [E, D], [V, d], [E, d]
  Tensor stage_;                            // i64 [1]: 1 or 2
};

class StableMoeLiteRouter : public Router {
 public:
  StableMoeLiteRouter(const nn::Scope& scope, const MoeOptions& o, const nn::Site& site)
      : k_(o, site.steps),
        order_(o.router_order),
        centroids_(scope.parameter("centroids", {o.experts, site.dim}, nn::init::orthogonal(0.32))) {}

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) const override {
    const Variable scores = ops::linear(nn::to_dtype(x, centroids_.dtype()), unit_rows(centroids_));
    RouterOutput out = select_topk(scores, k_.select(ctx, order_));
    out.probabilities = ops::softmax(ops::scale(scores, 1.0 / 0.3));
    return out;
  }

  nn::Account account() const override {
    const std::int64_t weights = centroids_.value().numel();
    return {weights, weights, 2.0 * static_cast<double>(weights)};
  }

 private:
  KSchedule k_;
  SelectionOrder order_;
  Variable centroids_;  // [E, D]
};

}  // namespace

RouterKind stablemoe_router() {
  return router_kind<StableMoeRouter, StableMoeOptions>("stablemoe", {.map_bias = false,
                                                                      .order = false,
                                                                      .z_loss = false,
                                                                      .balance = BalanceSource::router,
                                                                      .taught_by_selection = false});
}

RouterKind stablemoe_lite_router() {
  return router_kind<StableMoeLiteRouter>("stablemoe_lite", {.map_bias = false});
}

}  // namespace simsmoe::moe
