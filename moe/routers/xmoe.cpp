// XMoE: routing on a hypersphere of few dimensions, where no expert can win by the length of its vector.
//
//   z_t = R x_t                                     R: [d, D], d = xmoe.dim: E / 2, and 8 in the reference
//   paper      g_te = cos(z_t, c_e) / max(tau, 1e-4)    c: [E, d], tau learnable, 0.3 at the start
//              balance loss on softmax(g)
//   reference  c_e <- 1.5 c_e / |c_e| before the training passes of a step, outside of the gradient
//              g_te = z_t . c_e / |c_e|                  the token's length stays in; no temperature
//              balance loss on softmax(g / 0.3)
//   both       S_t = the k largest, w_t = softmax(g_t[S_t])      (or the other order: moe.router_order)
//
// Evaluation leaves c alone in the reference form, too: g does not depend on its length. A pass reads the rescaled c and
// hands its gradient to c as it is; the owner of the step writes it down before the optimizer. The published code puts the
// smallest finite score in the place of one that is not; here such a score ends the training with its name. Sources:
// Chi et al. 2022 (arXiv 2204.09179), section 3; the code of SimSMoE and CompeteSMoE, which does not normalise the
// token.

#include <algorithm>

#include "moe/k_schedule.hpp"
#include "moe/routers/routers.hpp"
#include "moe/unit_rows.hpp"
#include "nn/layers.hpp"
#include "ops/layout.hpp"
#include "ops/matmul.hpp"
#include "ops/softmax.hpp"

namespace simsmoe::moe {

namespace {

constexpr double kTau = 0.3, kSmallestTau = 1e-4;

struct XmoeOptions {
  std::int64_t dim = 0;

  void fields(nn::FieldList& add) {
    add("dim", &dim, "width of its space; 0: half the experts, at least 2, and 8 for moe.variant = reference",
        nn::between(0, 65536))
        .formerly("moe.router_dim");
  }
};

class XmoeRouter : public Router, public nn::Learner {
 public:
  XmoeRouter(const nn::Scope& scope, const MoeOptions& o, const nn::Site& site, const XmoeOptions& own)
      : k_(o, site.steps), order_(o.router_order), reference_(o.reference()) {
    constexpr std::int64_t kPublishedDim = 8;
    const std::int64_t default_dim = reference_ ? kPublishedDim : std::max<std::int64_t>(2, o.experts / 2);
    const std::int64_t d = own.dim > 0 ? own.dim : default_dim;
    down_ = scope.parameter("down", {d, site.dim}, nn::init::kaiming_uniform(site.dim));
    centroids_ = scope.parameter("embedding", {o.experts, d}, nn::init::orthogonal(0.32));
    if (!reference_)
      tau_ =
          scope.parameter("temperature", {1}, nn::init::constant(kTau), {.trainable = true, .decay = false});
  }

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) const override {
    const Variable z = ops::linear(nn::to_dtype(x, down_.dtype()), down_);
    if (!reference_) {
      const Variable cosines = ops::linear(unit_rows(z), unit_rows(centroids_));
      return select_topk(ops::div(cosines, ops::maximum(tau_, kSmallestTau)), k_.select(ctx, order_));
    }
    const Variable c = ctx.training ? ops::straight_through(centroids_, rescaled_centroids()) : centroids_;
    if (ctx.training) ctx.observed.note(*this, {});
    const Variable cosines = ops::linear(z, unit_rows(c));
    RouterOutput out = select_topk(cosines, k_.select(ctx, order_));
    out.probabilities = ops::softmax(ops::scale(cosines, 1.0 / kTau));
    return out;
  }

  nn::Account account() const override {
    const std::int64_t maps = down_.value().numel() + centroids_.value().numel();
    const std::int64_t all = maps + (reference_ ? 0 : 1);
    return {all, all, 2.0 * static_cast<double>(maps)};
  }

  void end_step(std::span<const Tensor> /*seen*/, std::uint64_t /*step*/) const override {
    centroids_.value().copy_from(rescaled_centroids());
  }

 private:
  Tensor rescaled_centroids() const {
    const Variable c = ops::cast(centroids_.detach(), DType::f64);
    return ops::cast(ops::scale(unit_rows(c), 1.5), centroids_.dtype()).value();
  }

  KSchedule k_;
  SelectionOrder order_;
  bool reference_;
  Variable down_, centroids_, tau_;  // [d, D], [E, d], [1]
};

}  // namespace

RouterKind xmoe_router() { return router_kind<XmoeRouter, XmoeOptions>("xmoe", {.map_bias = false}); }

}  // namespace simsmoe::moe
