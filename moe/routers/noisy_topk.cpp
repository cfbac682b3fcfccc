// Noisy top-k gating: noise of learnable size, so that experts that nearly won are tried, and two losses that keep
// the experts equally important and equally loaded.
//
//   c = Wg x,  s = softplus(Wn x) (+ 0.01 in the reference),  g = c + s * n,  n ~ N(0, 1)   [N, E]; evaluation: g = c
//   S_t = the k largest of g_t,  w_t = softmax(g_t[S_t])           training with k = 1: softmax(g_t)[S_t], paper
//   importance_e = sum_t w_te                                       w_te = 0 outside S_t
//   load_e       = sum_t Phi((c_te - thr_te) / s_te)                the probability that fresh noise selects e
//                  thr_te = the largest g_t of the experts that would be beaten: the (k+1)-th largest when e is in S_t,
//                  else the k-th
//   L = w_importance CV^2(importance) + w_load CV^2(load),  CV^2(v) = var(v) / (mean(v)^2 + 1e-10)
//
// Both thresholds carry gradient. With k = E everybody is always chosen, and the load teaches nothing: no such term.
// paper: Wg and Wn start at 0 and var divides by E; reference: U(+-1/sqrt(E)), and var divides by E - 1.
// The losses replace the layer's balance and z-loss and exist in training only. Source: Shazeer et al. 2017
// (arXiv 1701.06538), eq. 3-11 and appendix A.

#include "moe/k_schedule.hpp"
#include "moe/routers/routers.hpp"
#include "nn/init.hpp"
#include "nn/layers.hpp"
#include "ops/binary.hpp"
#include "ops/choices.hpp"
#include "ops/compare.hpp"
#include "ops/layout.hpp"
#include "ops/matmul.hpp"
#include "ops/random.hpp"
#include "ops/reduce.hpp"
#include "ops/softmax.hpp"
#include "ops/sort.hpp"
#include "ops/unary.hpp"

namespace simsmoe::moe {

namespace {

constexpr double kSmallestSpread = 1e-12;

struct NoisyTopkOptions {
  double importance_weight = 0.1;
  double load_weight = 0.1;

  void fields(nn::FieldList& add) {
    add("importance_weight", &importance_weight, "weight of the importance loss", nn::at_least(0))
        .turns_off("importance")
        .formerly("moe.importance_weight");
    add("load_weight", &load_weight, "weight of the load loss", nn::at_least(0))
        .turns_off("load")
        .formerly("moe.load_weight");
  }
};

class NoisyTopkRouter : public Router {
 public:
  NoisyTopkRouter(const nn::Scope& scope, const MoeOptions& o, const nn::Site& site,
                  const NoisyTopkOptions& own)
      : k_(o, site.steps),
        path_(scope.path()),
        key_(scope.key("draw")),
        importance_weight_(own.importance_weight),
        load_weight_(own.load_weight),
        unbiased_(o.reference()),
        floor_(o.reference() ? 0.01 : 0.0) {
    const nn::Init init = o.reference() ? nn::init::uniform(1.0 / std::sqrt(static_cast<double>(o.experts)))
                                        : nn::init::zeros();
    clean_ = scope.parameter("weight", {o.experts, site.dim}, init);
    noise_ = scope.parameter("noise", {o.experts, site.dim}, init);
  }

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) const override {
    const Variable in = nn::to_dtype(x, clean_.dtype());
    const Variable clean = ops::linear(in, clean_);
    const Selection selection = k_.select(ctx, SelectionOrder::topk_softmax);
    RouterOutput out;
    if (ctx.training) {
      const Variable spread = ops::scale(ops::softplus(ops::linear(in, noise_)), 1.0, floor_);
      const Tensor drawn = ops::normal(clean.shape(), clean.dtype(), key_, ctx.draw, clean.device(),
                                       static_cast<std::uint64_t>(ctx.first_token * clean.size(1)));
      const Variable noisy = ops::add(clean, ops::mul(spread, Variable(drawn)));
      out = select_topk(noisy, selection);
      if (x.size(0) > 0) add_losses(clean, spread, noisy, out.experts, selection, ctx);
    } else {
      out = select_topk(clean, selection);
    }
    out.balance = 0.0;
    return out;
  }

  nn::Account account() const override {
    const std::int64_t weights = clean_.value().numel();
    return {2 * weights, weights, 2.0 * static_cast<double>(weights)};  // inference draws no noise
  }

 private:
  void add_losses(const Variable& clean, const Variable& spread, const Variable& noisy, const Tensor& experts,
                  const Selection& selection, nn::ForwardContext& ctx) const {
    const std::int64_t k = selection.k, all = noisy.size(1);
    const Tensor chosen = ops::choice_mask(experts, all, DType::u8);
    if (importance_weight_ > 0.0)
      ctx.losses.add("importance", path_, importance_weight_,
                     cv_squared(ops::sum(gates(noisy, chosen, selection.order), 0)));
    if (load_weight_ > 0.0 && k < all)
      ctx.losses.add("load", path_, load_weight_,
                     cv_squared(ops::sum(chances(clean, spread, noisy, chosen, k), 0)));
  }

  // w as a full matrix, 0 where nothing was chosen. [N, E]
  static Variable gates(const Variable& noisy, const Tensor& chosen, SelectionOrder order) {
    const auto otherwise = [&](double value) {
      return Variable(Tensor::full({}, value, noisy.dtype(), noisy.device()));
    };
    if (order == SelectionOrder::softmax_topk) return ops::where(chosen, ops::softmax(noisy), otherwise(0.0));
    return ops::softmax(ops::where(chosen, noisy, otherwise(-1e30)));
  }

  // The probability that e would be among the k largest if its noise alone were drawn again. [N, E]
  static Variable chances(const Variable& clean, const Variable& spread, const Variable& noisy,
                          const Tensor& chosen, std::int64_t k) {
    const Variable best = ops::topk(noisy, k + 1).values;
    const Variable if_in = ops::slice(best, 1, k, k + 1), if_out = ops::slice(best, 1, k - 1, k);
    const Variable threshold = ops::where(chosen, if_in, if_out);
    // Very negative scores round the spread to 0, and 0 / 0 has no gradient.
    const Variable bounded = ops::maximum(spread, kSmallestSpread);
    return ops::normal_cdf(ops::div(ops::sub(clean, threshold), bounded));
  }

  // The squared coefficient of variation of v: [E].
  Variable cv_squared(const Variable& v) const {
    const Variable variance = ops::var(v, 0, false, unbiased_ && v.size(0) > 1 ? 1.0 : 0.0);
    return ops::div(variance, ops::add(ops::square(ops::mean(v)), 1e-10));
  }

  KSchedule k_;
  std::string path_;
  RandomKey key_;
  double importance_weight_, load_weight_;
  bool unbiased_;
  double floor_;
  Variable clean_, noise_;  // [E, D]
};

}  // namespace

RouterKind noisy_topk_router() {
  return router_kind<NoisyTopkRouter, NoisyTopkOptions>(
      "noisy_topk", {.map_bias = false, .order = false, .z_loss = false, .balance = BalanceSource::router});
}

}  // namespace simsmoe::moe
