// The plain sparse-MoE router: one linear map, the k largest scores win.
//
//   g_t = W x_t (+ b)                     W: [E, D], b: [E]
//   S_t = the k largest of g_t
//   w_t = softmax(g_t[S_t])               order topk_softmax (SimSMoE and CompeteSMoE as published in code)
//   w_t = softmax(g_t)[S_t]               order softmax_topk (Shazeer et al. 2017 and the papers' equations;
//   k = 1)
//
// The first form equals the second divided by its sum. Sources: Do et al. 2025 (SimSMoE, arXiv 2406.15883),
// eq. 1-2; Fedus et al. 2021 (Switch Transformer, arXiv 2101.03961), eq. 1-2.

#include "moe/routers/routers.hpp"
#include "nn/layers.hpp"
#include "ops/matmul.hpp"

namespace simsmoe::moe {

namespace {

class SmoeRouter : public Router {
 public:
  SmoeRouter(const nn::Scope& scope, const MoeOptions& options, std::int64_t dim)
      : k_(options.k),
        order_(selection_order_from_name(options.router_order)),
        map_(scope, dim, options.experts, {.bias = options.router_bias, .init_std = options.init_std}) {}

  RouterOutput route(const Variable& x, nn::ForwardContext& /*ctx*/) override {
    // Not map_(x, ctx): that would compute in bf16 where the rest of the model does.
    return select_topk(ops::linear(nn::to_dtype(x, map_.weight.dtype()), map_.weight, map_.bias), k_, order_);
  }

  nn::Account account() const override { return map_.account(); }

 private:
  std::int64_t k_;
  SelectionOrder order_;
  nn::Linear map_;
};

}  // namespace

std::unique_ptr<Router> make_smoe_router(const nn::Scope& scope, const MoeOptions& options,
                                         std::int64_t dim) {
  return std::make_unique<SmoeRouter>(scope, options, dim);
}

}  // namespace simsmoe::moe
