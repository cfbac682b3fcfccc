// Switch: one expert per token, and noise against early habits.
//
//   x'_t = x_t * u_t,  u ~ U[1 - eps, 1 + eps]^D     training only, paper
//   g_t  = W x'_t (+ b)                              reference: g_t = W x_t + b + u_t,  u ~ U[-eps, eps]^E
//   e_t  = argmax g_t,  w_t = softmax(g_t)[e_t]      not renormalised: the weight teaches the router
//
// The published forks add U[1 - eps, 1 + eps] to the logits; the constant 1 changes no softmax and would only inflate a
// z-loss. eps = switch.jitter. Source: Fedus et al. 2021 (arXiv 2101.03961), eq. 1-2 and section 2.4.

#include "moe/routers/routers.hpp"
#include "moe/routers/score_map.hpp"
#include "ops/binary.hpp"
#include "ops/random.hpp"
#include "ops/unary.hpp"

namespace simsmoe::moe {

namespace {

struct SwitchOptions {
  double jitter = 0.1;

  void fields(nn::FieldList& add) {
    add("jitter", &jitter, "size of the training noise", nn::from_to_below(0, 1)).formerly("moe.jitter");
  }
};

class SwitchRouter : public Router {
 public:
  SwitchRouter(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site,
               const SwitchOptions& own)
      : scores_(scope, options, site, options.reference()),
        on_logits_(options.reference()),
        jitter_(own.jitter),
        key_(scope.key("draw")) {
    if (options.k != 1)
      throw UserError(
          fmt::format("moe.router = switch sends a token to one expert: moe.k must be 1, got {}", options.k));
  }

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) const override {
    const bool noisy = ctx.training && jitter_ > 0.0;
    const Variable in = nn::to_dtype(x, scores_.map.weight.dtype());
    Variable logits = scores_(noisy && !on_logits_ ? ops::mul(in, noise_like(in, 1.0, ctx)) : in);
    if (noisy && on_logits_) logits = ops::add(logits, noise_like(logits, 0.0, ctx));
    return select_topk(logits, {.k = 1, .order = SelectionOrder::softmax_topk});
  }

  nn::Account account() const override { return scores_.account(); }

 private:
  // U[middle - eps, middle + eps) in the shape of x
  Variable noise_like(const Variable& x, double middle, const nn::ForwardContext& ctx) const {
    const Tensor u = ops::uniform(x.shape(), x.dtype(), key_, ctx.draw, x.device(),
                                  static_cast<std::uint64_t>(ctx.first_token * x.size(1)));
    return ops::scale(Variable(u), 2.0 * jitter_, middle - jitter_);
  }

  ScoreMap scores_;
  bool on_logits_;
  double jitter_;
  RandomKey key_;
};

}  // namespace

RouterKind switch_router() {
  return router_kind<SwitchRouter, SwitchOptions>(
      "switch", {.any_k = false, .order = false, .taught_by_selection = false});
}

}  // namespace simsmoe::moe
