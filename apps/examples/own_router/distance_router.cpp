// Nearest centres:
//
//   g_te = -|x_t - c_e|^2 / sqrt(D)        c: [E, D], learned
//   S_t  = the k largest of g_t, w_t = softmax(g_t[S_t]); balance and z-loss are the layer's
//
// |x - c|^2 = |x|^2 - 2 x . c + |c|^2, and |x_t|^2 is the same for all experts: it changes no choice and no
// softmax.

#include "distance_router.hpp"

#include <cmath>

#include "moe/k_schedule.hpp"
#include "nn/init.hpp"
#include "nn/layers.hpp"
#include "ops/matmul.hpp"
#include "ops/reduce.hpp"
#include "ops/unary.hpp"

namespace own {

namespace {

using namespace simsmoe;

class DistanceRouter : public moe::Router {
 public:
  DistanceRouter(const nn::Scope& scope, const moe::MoeOptions& options, const nn::Site& site)
      : k_(options, site.steps),
        scale_(1.0 / std::sqrt(static_cast<double>(site.dim))),
        centres_(scope.parameter("centres", {options.experts, site.dim}, nn::init::normal(1.0))) {}

  moe::RouterOutput route(const Variable& x, const moe::Experts& /*experts*/,
                          nn::ForwardContext& ctx) const override {
    // Scores keep the dtype of the parameters, also when the model computes in bf16.
    const Variable tokens = nn::to_dtype(x, centres_.dtype());
    const Variable squares = ops::sum(ops::square(centres_), -1);
    const Variable scores =
        ops::linear(ops::scale(tokens, 2.0 * scale_), centres_, ops::scale(squares, -scale_));
    return moe::select_topk(scores, k_.select(ctx, moe::SelectionOrder::topk_softmax));
  }

  nn::Account account() const override {
    const std::int64_t weights = centres_.value().numel();
    return {weights, weights, 2.0 * static_cast<double>(weights)};
  }

 private:
  moe::KSchedule k_;
  double scale_;
  Variable centres_;  // [E, D]
};

}  // namespace

moe::RouterKind distance_router() {
  return {
      .name = "distance",
      .make = [](const nn::Scope& scope, const moe::MoeOptions& options,
                 const nn::Site& site) { return std::make_unique<DistanceRouter>(scope, options, site); },
      .traits = [](const moe::MoeOptions&) { return moe::RouterTraits{.map_bias = false, .order = false}; }};
}

}  // namespace own
