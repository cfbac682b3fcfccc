// GShard: two experts per token, the second one by chance.
//
//   g_t = W x_t (+ b),  S_t = the two largest,  w_t = softmax(g_t[S_t])
//   training: the second choice is dropped when 2 w_t2 < u_t,  u_t ~ U[0, 1); the first keeps its weight
//   L_balance = E * sum_e c_e P_e,  P_e = mean_t softmax(g_t)_e
//     paper      c_e = share of the tokens whose first choice is e      (uniform value 1)
//     reference  c_e = choices of e, first or second, per token         (uniform value 2), as the vendored copies count
//
// The balance counts choices before any is dropped, is a constant in c, and replaces the layer's. The published
// gate asks for its two largest unsorted; here the first is the larger. Source: Lepikhin et al. 2020 (GShard, arXiv
// 2006.16668), section 2.2 and algorithm 1.

#include "moe/balance_losses.hpp"
#include "moe/routers/routers.hpp"
#include "moe/routers/score_map.hpp"
#include "ops/choices.hpp"
#include "ops/compare.hpp"
#include "ops/layout.hpp"
#include "ops/random.hpp"
#include "ops/softmax.hpp"
#include "ops/unary.hpp"

namespace simsmoe::moe {

namespace {

class GshardRouter : public Router {
 public:
  GshardRouter(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site)
      : path_(scope.path()),
        key_(scope.key("draw")),
        scores_(scope, options, site, options.reference()),
        balance_weight_(options.balance_alpha()),
        z_weight_(options.z_weight),
        count_both_(options.reference()) {
    if (options.k != 2)
      throw UserError(fmt::format("moe.router = gshard sends a token to two experts: moe.k must be 2, got {}",
                                  options.k));
    if (options.experts < 2)
      throw UserError(
          fmt::format("moe.router = gshard needs moe.experts of at least 2, got {}", options.experts));
  }

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) const override {
    RouterOutput out = select_topk(scores_(x), {.k = 2, .order = SelectionOrder::topk_softmax});
    out.balance = 0.0;
    if (!ctx.training) return out;
    if (x.size(0) > 0) add_losses(out, ctx);
    out.experts = drop_second(out, ctx);
    return out;
  }

  nn::Account account() const override { return scores_.account(); }

 private:
  void add_losses(const RouterOutput& out, nn::ForwardContext& ctx) const {
    if (balance_weight_ > 0.0) {
      const std::int64_t tokens = out.experts.size(0);
      const Variable balance =
          load_balance_loss(ops::softmax(out.logits), out.experts, tokens, {.first_choice = !count_both_});
      ctx.losses.add("balance", path_, balance_weight_, count_both_ ? ops::scale(balance, 2.0) : balance);
    }
    if (z_weight_ > 0.0) ctx.losses.add("z", path_, z_weight_, z_loss(out.logits));
  }

  // In f64: the weight against a draw of 32 bits, one per token.
  Tensor drop_second(const RouterOutput& out, const nn::ForwardContext& ctx) const {
    const std::int64_t tokens = out.experts.size(0);
    const Device device = out.experts.device();
    const auto first = static_cast<std::uint64_t>(ctx.first_token);
    const Variable drawn(ops::uniform({tokens, 1}, DType::f64, key_, ctx.draw, device, first));
    const Variable least = ops::concat({Variable(Tensor::zeros({tokens, 1}, DType::f64, device)), drawn}, 1);
    const Variable doubled = ops::scale(ops::cast(out.weights.detach(), DType::f64), 2.0);
    return ops::keep_choices(out.experts, ops::greater_equal(doubled.value(), least.value()));
  }

  std::string path_;
  RandomKey key_;
  ScoreMap scores_;
  double balance_weight_, z_weight_;
  bool count_both_;
};

}  // namespace

RouterKind gshard_router() {
  return router_kind<GshardRouter>(
      "gshard",
      {.any_k = false, .order = false, .balance = BalanceSource::router_form, .taught_by_selection = false});
}

}  // namespace simsmoe::moe
