#pragma once
// How tokens choose experts: the interface of every router, and the step that most of them end with. A router
// is one file in moe/routers/ that opens with its equations and their source, and a line in the table of
// moe/routers/table.cpp. Next: moe/routers/smoe.cpp.

#include <memory>

#include "moe/options.hpp"
#include "nn/context.hpp"
#include "nn/scope.hpp"

namespace simsmoe::moe {

class Experts;

// N tokens, E experts, K choices per token. Floats have the dtype of the parameters (f32 or f64), also when
// the experts compute in bf16: a rounded score is a different choice.
struct RouterOutput {
  Variable weights;  // [N, K]: what the output of each choice is multiplied by
  Tensor experts;    // i32 [N, K], first choice first; -1 is a choice that was not made
  Variable logits;   // [N, E]: what the z-loss is computed from; undefined: the router has none
  // [N, E], rows sum to 1: what the layer's balance loss averages; undefined: softmax(logits). Without logits it also
  // names the runner-up of a single choice.
  Variable probabilities = {};
  // Factor of the layer's balance loss. 0: the layer adds neither that nor a z-loss; the router has losses of its own
  // or none.
  double balance = 1.0;
};

class Router {
 public:
  virtual ~Router() = default;
  // x: [N, D]. `experts` are the layer's, for routers that let them compete. A router with losses of its own adds them
  // to ctx.losses, in training only. A function: it changes nothing but the context, and gives the same bits again. What
  // it learns without a gradient it notes in ctx.observed, in training only, and applies in its Learner's end_step().
  virtual RouterOutput route(const Variable& x, const Experts& experts, nn::ForwardContext& ctx) const = 0;
  virtual nn::Account account() const = 0;
};

// The router that the options ask for. Throws UserError naming the option that does not suit it.
std::unique_ptr<Router> make_router(const nn::Scope& scope, const MoeOptions& options, const nn::Site& site);

// Each token takes its k largest logits, equal ones by the lower index, with these weights:
//   topk_softmax   w_j = exp(g_j) / sum over the k kept of exp(g_i)     sum to 1
//   softmax_topk   w_j = exp(g_j) / sum over all E of exp(g_i)          sum to < 1 when k < E
// A router that trains takes its selection from KSchedule::select(), which knows what a single expert weighs.
// logits: [N, E]
RouterOutput select_topk(const Variable& logits, const Selection& selection);

// The same choice for given experts: the weights of logits at `experts`. logits: [N, E], experts: i32 [N, K]
Variable weights_at(const Variable& logits, const Tensor& experts, SelectionOrder order);

}  // namespace simsmoe::moe
