#pragma once
// How tokens choose experts: the interface of every router, and the step that most of them end with. A router
// is one file in moe/routers/ that opens with its equations and their source, plus a line in
// moe/routers/routers.hpp and one in the table of router.cpp. Next: moe/routers/smoe.cpp.

#include <memory>
#include <string>
#include <vector>

#include "moe/options.hpp"
#include "nn/context.hpp"
#include "nn/scope.hpp"

namespace simsmoe::moe {

// N tokens, E experts, K choices per token. Floats have the dtype of the parameters (f32 or f64), also when
// the experts compute in bf16: a rounded score is a different choice.
struct RouterOutput {
  Variable weights;  // [N, K]: what the output of each choice is multiplied by
  Tensor experts;    // i32 [N, K], first choice first; -1 is a choice that was not made
  Variable logits;  // [N, E]: what the balance and z losses are computed from; undefined: the layer adds none
};

class Router {
 public:
  virtual ~Router() = default;
  // x: [N, D]. A router with losses of its own adds them to ctx.losses.
  virtual RouterOutput route(const Variable& x, nn::ForwardContext& ctx) = 0;
  virtual nn::Account account() const = 0;
};

// The router named options.router. Throws UserError listing the known names.
std::unique_ptr<Router> make_router(const nn::Scope& scope, const MoeOptions& options, std::int64_t dim);
std::vector<std::string> router_names();

enum class SelectionOrder : unsigned char { topk_softmax, softmax_topk };
SelectionOrder selection_order_from_name(
    const std::string& name);  // throws UserError naming moe.router_order

// Each token takes its k largest logits, equal ones by the lower index, with these weights:
//   topk_softmax   w_j = exp(g_j) / sum over the k kept of exp(g_i)     sum to 1
//   softmax_topk   w_j = exp(g_j) / sum over all E of exp(g_i)          sum to < 1 when k < E
// k = 1 always takes softmax_topk (Switch Transformer, Fedus et al. 2021, eq. 2): the other weight would be
// the constant 1, and no gradient of the task would reach the router. logits: [N, E]
RouterOutput select_topk(const Variable& logits, std::int64_t k, SelectionOrder order);

}  // namespace simsmoe::moe
