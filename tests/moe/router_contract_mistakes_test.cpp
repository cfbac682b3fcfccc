// Does the suite notice? A router that keeps the contract, and the same router with one mistake at a time:
// each must break the clauses meant, and no other.
#include <doctest/doctest.h>

#include <functional>
#include <set>

#include "moe/experts.hpp"
#include "moe/router.hpp"
#include "nn/layers.hpp"
#include "ops/binary.hpp"
#include "ops/index.hpp"
#include "ops/layout.hpp"
#include "ops/matmul.hpp"
#include "ops/random.hpp"
#include "ops/reduce.hpp"
#include "ops/softmax.hpp"
#include "ops/sort.hpp"
#include "ops/unary.hpp"
#include "tests/moe/router_contract/contract.hpp"

namespace simsmoe::testing {

namespace {

using moe::RouterOutput;
using moe::select_topk;
using moe::SelectionOrder;

// What a mistake has to work with.
struct Parts {
  Variable weight;  // [E, D]
  Tensor passes;    // f64 [1], saved
  std::int64_t k;
  std::int64_t first_step = -1;          // not saved
  std::uint64_t last_draw = 99;          // not saved
  const nn::Learner* learner = nullptr;  // counts the passes
  const moe::Experts* experts = nullptr;

  Variable logits(const Variable& x) const { return ops::linear(nn::to_dtype(x, weight.dtype()), weight); }
  RouterOutput select(const Variable& g) const { return select_topk(g, {k, SelectionOrder::topk_softmax}); }
};

using Route = std::function<RouterOutput(Parts& parts, const Variable& x, nn::ForwardContext& ctx)>;

class SpoiltRouter : public moe::Router, public nn::Learner {
 public:
  SpoiltRouter(const nn::Scope& scope, const moe::MoeOptions& options, const nn::Site& site, Route route)
      : parts_{.weight = scope.parameter("weight", {options.experts, site.dim},
                                         nn::init::kaiming_uniform(site.dim)),
               .passes = scope.buffer("passes", {1}, DType::f64),
               .k = options.k},
        configured_k_(options.k),
        route_(std::move(route)) {
    parts_.learner = this;
  }

  RouterOutput route(const Variable& x, const moe::Experts& experts, nn::ForwardContext& ctx) const override {
    parts_.experts = &experts;
    parts_.k = ctx.experts_per_token > 0 ? ctx.experts_per_token : configured_k_;
    return route_(parts_, x, ctx);
  }
  void end_step(std::span<const Tensor> seen, std::uint64_t /*step*/) const override {
    parts_.passes.fill(parts_.passes.to_vector<double>()[0] + static_cast<double>(seen.size()));
  }
  nn::Account account() const override {
    const std::int64_t weights = parts_.weight.value().numel();
    return {weights, weights, 2.0 * static_cast<double>(weights)};
  }

 private:
  mutable Parts parts_;  // so that a pass can do what it should not
  std::int64_t configured_k_;
  Route route_;
};

struct Mistake {
  std::string name;
  Route route;
  std::set<std::string> broken;
  std::function<void(Promise&)> adjust = {};
};

RouterOutput right(Parts& parts, const Variable& x, nn::ForwardContext& /*ctx*/) {
  return parts.select(parts.logits(x));
}

// f64 [1] + 1
void count(const Tensor& passes) { passes.fill(passes.to_vector<double>()[0] + 1.0); }

std::set<std::string> broken_clauses(const Promise& promise, std::string& messages) {
  std::set<std::string> clauses;
  const std::vector<Violation> violations = check_router(promise);
  for (const Violation& violation : violations) clauses.insert(violation.clause);
  messages = to_string(violations);
  return clauses;
}

const std::vector<Mistake>& mistakes() {
  static const std::vector<Mistake> all = {
      {"none", right, {}},
      {"a single weight divided by itself, which leaves the rounding of a constant",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         RouterOutput out = p.select(p.logits(x));
         const Variable scores = ops::sigmoid(ops::take_along_last(out.logits, out.experts));
         out.weights = ops::div(scores, ops::add(ops::sum(scores, -1, true), 1e-20));
         return out;
       },
       {"task teaches"},
       [](Promise& p) { p.options.k = 1; }},
      {"negative weights, of a router whose sums are free",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         RouterOutput out = p.select(p.logits(x));
         out.weights = ops::neg(out.weights);
         return out;
       },
       {"weights are as promised", "every k is served"},
       [](Promise& p) {
         p.weights = WeightSum::not_negative;
         p.descending = false;
       }},
      {"weights that sum to one half",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         RouterOutput out = p.select(p.logits(x));
         out.weights = ops::scale(out.weights, 0.5);
         return out;
       },
       {"weights are as promised", "every k is served"}},
      {"an expert chosen twice",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         RouterOutput out = p.select(p.logits(x));
         out.experts = out.experts.clone();  // the selection keeps its own for the gradient
         const auto choice = out.experts.host<std::int32_t>();
         for (std::size_t i = 1; i < choice.size(); i += 2) choice[i] = choice[i - 1];
         return out;
       },
       {"plan is valid", "task teaches"},  // whatever two weights of one expert are, they sum to 1
       [](Promise& p) { p.top_k_of_logits = p.ties_to_lowest = p.any_k = false; }},
      {"the smallest scores win",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         RouterOutput out = p.select(ops::neg(p.logits(x)));
         out.logits = ops::neg(out.logits);
         return out;
       },
       {"choices follow the logits"}},
      {"ties to the highest",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         const Variable logits = p.logits(x);
         const std::int64_t experts = logits.size(1);
         std::vector<std::int32_t> reversed;
         for (std::int64_t e = experts; e-- > 0;) reversed.push_back(static_cast<std::int32_t>(e));
         std::vector<std::int32_t> row;
         for (std::int64_t t = 0; t < x.size(0); ++t) row.insert(row.end(), reversed.begin(), reversed.end());
         const Variable mirrored =
             ops::take_along_last(logits.detach(), Tensor::from(row, {x.size(0), experts}));
         const Tensor best = ops::topk(mirrored, p.k).indices;
         for (std::int32_t& e : best.host<std::int32_t>()) e = static_cast<std::int32_t>(experts) - 1 - e;
         return RouterOutput{.weights = weights_at(logits, best, SelectionOrder::topk_softmax),
                             .experts = best,
                             .logits = logits};
       },
       {"ties go to the lowest"}},
      {"weights by position",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         std::vector<double> slope;
         for (std::int64_t t = 0; t < x.size(0); ++t) slope.push_back(1.0 + 0.1 * static_cast<double>(t));
         const Variable g = p.logits(x);
         return p.select(ops::mul(g, Variable(Tensor::from(slope, {x.size(0), 1}).to(g.dtype()))));
       },
       {"permutation permutes"}},
      {"scores compared with those of other tokens",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         const Variable g = p.logits(x);
         return p.select(x.size(0) == 0 ? g : ops::sub(g, ops::mean(g, 0)));
       },
       {"tokens are independent"}},
      {"always two experts",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         p.k = 2;
         return p.select(p.logits(x));
       },
       {"every k is served"}},
      {"trained, and promised to be frozen",
       right,
       {"gradient arrives"},
       [](Promise& p) { p.frozen = {"weight"}; }},
      {"weights detached",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         RouterOutput out = p.select(p.logits(x));
         out.weights = out.weights.detach();
         return out;
       },
       {"task teaches", "numeric gradient agrees"}},
      {"a gradient twice as large",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         RouterOutput out = p.select(p.logits(x));
         out.weights = ops::sub(ops::scale(out.weights, 2.0), out.weights.detach());
         return out;
       },
       {"numeric gradient agrees"}},
      {"a balance loss of another form",
       right,
       {"uniform balance is as promised"},
       [](Promise& p) { p.uniform_balance = 0.5; }},
      {"scores rounded to the dtype of the experts",
       [](Parts& p, const Variable& x, nn::ForwardContext& ctx) {
         const DType dtype = nn::compute_dtype(p.weight, ctx);
         return p.select(ops::linear(nn::to_dtype(x, dtype), nn::to_dtype(p.weight, dtype)));
       },
       {"scores stay exact"}},
      {"noise in evaluation",
       [](Parts& p, const Variable& x, nn::ForwardContext& ctx) {
         const Variable g = p.logits(x);
         const Tensor u = ops::uniform({1, g.size(1)}, g.dtype(), {1, 2}, ctx.draw, g.device());
         return p.select(ops::mul(g, ops::scale(Variable(u), 0.3, 1.0)));
       },
       {"evaluation draws nothing"},
       [](Promise& p) { p.draws_in_training = true; }},
      {"noise that is not promised",
       [](Parts& p, const Variable& x, nn::ForwardContext& ctx) {
         const Variable g = p.logits(x);
         if (!ctx.training) return p.select(g);
         const Tensor u = ops::uniform({1, g.size(1)}, g.dtype(), {1, 2}, ctx.draw, g.device());
         return p.select(ops::mul(g, ops::scale(Variable(u), 0.3, 1.0)));
       },
       {"training draws as promised"}},
      {"state changed in evaluation",
       [](Parts& p, const Variable& x, nn::ForwardContext& ctx) {
         if (!ctx.training) count(p.passes);
         return p.select(p.logits(x));
       },
       {"evaluation changes nothing"}},
      {"state that is not promised",
       [](Parts& p, const Variable& x, nn::ForwardContext& ctx) {
         if (ctx.training) ctx.observed.note(*p.learner, {});
         return p.select(p.logits(x));
       },
       {"training changes as promised"}},
      {"state changed by the pass itself",
       [](Parts& p, const Variable& x, nn::ForwardContext& ctx) {
         if (ctx.training) count(p.passes);
         return p.select(p.logits(x));
       },
       {"only the owner applies"},
       [](Promise& p) { p.changes = Changes::buffers; }},
      {"a pass that remembers the one before",
       [](Parts& p, const Variable& x, nn::ForwardContext& ctx) {
         const bool again = ctx.training && p.last_draw == ctx.draw;
         if (ctx.training) p.last_draw = ctx.draw;
         return p.select(ops::scale(p.logits(x), again ? 1.0 + 1e-14 : 1.0));
       },
       {"a pass is a function"}},
      {"a beginning that no checkpoint knows",
       [](Parts& p, const Variable& x, nn::ForwardContext& ctx) {
         if (!ctx.training) return p.select(p.logits(x));
         const auto step = static_cast<std::int64_t>(ctx.step);
         if (p.first_step < 0) p.first_step = step;
         return p.select(ops::scale(p.logits(x), 1.0 + 0.1 * static_cast<double>(step - p.first_step)));
       },
       {"resuming gives the same bits"}},
      {"a loss on the router that teaches the experts",
       [](Parts& p, const Variable& x, nn::ForwardContext& ctx) {
         RouterOutput out = p.select(p.logits(x));
         if (ctx.training && x.size(0) > 0) {
           const Variable y = p.experts->forward_pair(x, 0, 1, ctx.compute_dtype);
           ctx.losses.add("foresight", "moe", 0.1, ops::mean(ops::square(nn::to_dtype(y, p.weight.dtype()))));
         }
         return out;
       },
       {"stopped losses spare experts"},
       [](Promise& p) { p.stopped_losses = {"foresight"}; }},
      {"a mean over no tokens",
       [](Parts& p, const Variable& x, nn::ForwardContext& ctx) {
         const RouterOutput out = p.select(p.logits(x));
         if (ctx.training) {
           const double tokens = static_cast<double>(x.size(0));
           ctx.losses.add("size", "moe", 0.1,
                          ops::scale(ops::sum(ops::square(out.logits)), 1.0, 0.0 / tokens));
         }
         return out;
       },
       {"few tokens are fine"}},
      {"softmax without its maximum",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         RouterOutput out = p.select(p.logits(x));
         const Variable e = ops::exp(ops::take_along_last(out.logits, out.experts));
         out.weights = ops::div(e, ops::sum(e, -1, true));
         return out;
       },
       {"huge scores are finite"}},
      {"tokens divided by their length",
       [](Parts& p, const Variable& x, nn::ForwardContext&) {
         const Variable wide = nn::to_dtype(x, p.weight.dtype());
         return p.select(p.logits(ops::div(wide, ops::sqrt(ops::sum(ops::square(wide), -1, true)))));
       },
       {"equal scores are finite"}},
  };
  return all;
}

}  // namespace

TEST_CASE("contract: each planted mistake breaks the clauses meant and no other") {
  for (const Mistake& mistake : mistakes()) {
    CAPTURE(mistake.name);
    Promise promise;
    promise.name = mistake.name;
    promise.uniform_balance = 1.0;
    promise.options.custom_router.make = [&](const nn::Scope& scope, const moe::MoeOptions& o,
                                             const nn::Site& site) {
      return std::make_unique<SpoiltRouter>(scope, o, site, mistake.route);
    };
    if (mistake.adjust) mistake.adjust(promise);
    std::string messages;
    const std::set<std::string> broken = broken_clauses(promise, messages);
    CAPTURE(messages);
    CHECK(broken == mistake.broken);
  }
}

}  // namespace simsmoe::testing
