// A part of a model that runs twice: what it is told each time, and what it leaves behind.

#include "nn/recompute.hpp"

#include "ops/binary.hpp"
#include "ops/reduce.hpp"
#include "ops/unary.hpp"
#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

namespace {

class Counter : public Learner {
 public:
  void end_step(std::span<const Tensor> seen, std::uint64_t /*step*/) const override {
    notes = static_cast<int>(seen.size());
  }
  mutable int notes = 0;
};

// What a call of the branch found in its context.
struct Call {
  bool training, collect_metrics, compare_experts;
  std::uint64_t step, draw;
  std::int64_t first_token, experts_per_token;
  DType compute_dtype;
  double first_id;
  std::size_t noted, losses;
  bool operator==(const Call&) const = default;
};

}  // namespace

TEST_CASE("recomputed: the second pass is told what the first was, measures nothing and leaves nothing") {
  const Counter counter;
  std::vector<Call> calls;
  const Branch branch = [&](const Variable& x, ForwardContext& ctx) {
    calls.push_back({ctx.training, ctx.collect_metrics, ctx.compare_experts, ctx.step, ctx.draw,
                     ctx.first_token, ctx.experts_per_token, ctx.compute_dtype,
                     ctx.token_ids.to_vector<double>()[0], ctx.observed.noted(counter).size(),
                     ctx.losses.terms().size()});
    ctx.observed.note(counter, {});
    ctx.losses.add("size", "here", 0.5, ops::sum(ops::square(x)));
    ctx.losses.declare("seldom");
    if (ctx.collect_metrics) ctx.metrics.add("here", "calls", 1.0, Combine::sum);
    return ops::square(x);
  };
  ForwardContext ctx;
  ctx.training = ctx.recompute = ctx.collect_metrics = ctx.compare_experts = true;
  ctx.step = 3;
  ctx.draw = 7;
  ctx.first_token = 5;
  ctx.experts_per_token = 2;
  ctx.compute_dtype = DType::bf16;
  ctx.token_ids = Tensor::from(std::vector<std::int32_t>{9}, {1});
  ctx.observed.note(counter, {});  // by an earlier part of the pass
  ctx.metrics.add("here", "calls", 10.0, Combine::sum);
  ctx.losses.add("before", "there", 1.0, Variable(Tensor::scalar(2.0)));

  const Variable x(Tensor::from(std::vector<double>{1.0, -2.0}, {2}), true);
  Tape tape;
  const Variable y = recomputed(x, ctx, branch);
  REQUIRE(calls.size() == 1);
  REQUIRE(ctx.losses.terms().size() == 2);
  CHECK(ctx.losses.terms()[1].name == "size");
  CHECK(ctx.losses.terms()[1].where == "here");
  CHECK(ctx.losses.terms()[1].weight == 0.5);
  CHECK(ctx.losses.names() == std::set<std::string>{"before", "seldom", "size"});
  CHECK(ctx.metrics.read() == std::map<std::string, double>{{"here/calls", 11.0}});
  tape.backward(ops::add(ops::sum(y), ctx.losses.terms()[1].value));
  REQUIRE(calls.size() == 2);
  const Call first{true, true, true, 3, 7, 5, 2, DType::bf16, 9.0, 1, 0};
  Call second = first;
  second.collect_metrics = second.compare_experts = false;
  CHECK(calls[0] == first);
  CHECK(calls[1] == second);
  CHECK(x.grad().to_vector<double>() == std::vector<double>{4.0, -8.0});  // 2 x from each of the two
  CHECK(ctx.metrics.read().at("here/calls") == 11.0);
  ctx.observed.end_step(3);
  CHECK(counter.notes == 2);
}

TEST_CASE("recomputed: without the wish, or without a tape, a part runs once in the context itself") {
  int calls = 0;
  const Branch branch = [&](const Variable& x, ForwardContext& ctx) {
    ++calls;
    ctx.experts_per_token = 4;
    return ops::square(x);
  };
  const Variable x(Tensor::scalar(3.0), true);
  {
    ForwardContext ctx;
    Tape tape;
    tape.backward(recomputed(x, ctx, branch));
    CHECK(ctx.experts_per_token == 4);
    CHECK(calls == 1);
  }
  ForwardContext ctx;
  ctx.recompute = true;
  CHECK(recomputed(x, ctx, branch).value().item() == 9.0);
  CHECK(ctx.experts_per_token == 4);
  CHECK(calls == 2);
}

TEST_CASE("settings: the same pass with nothing collected") {
  const Counter counter;
  ForwardContext ctx;
  ctx.training = ctx.recompute = ctx.collect_metrics = ctx.compare_experts = true;
  ctx.step = 3;
  ctx.losses.declare("z");
  ctx.metrics.add("", "n", 1.0, Combine::sum);
  ctx.observed.note(counter, {});
  ctx.memo.get("layer", {}, [] { return Variables{Variable(Tensor::scalar(1.0))}; });
  const ForwardContext same = ctx.settings();
  CHECK((same.training && same.recompute && same.collect_metrics && same.compare_experts));
  CHECK(same.step == 3);
  CHECK(same.losses.names().empty());
  CHECK(same.metrics.empty());
  CHECK(same.observed.noted(counter).empty());
  CHECK(same.memo.size() == 0);
  CHECK(ctx.observed.noted(counter).size() == 1);
}

}  // namespace simsmoe::nn
