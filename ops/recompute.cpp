#include "ops/recompute.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"
#include "ops/layout.hpp"

// The only op whose closure calls ops: it opens a tape of its own (rule 7 of engine/tape.hpp).

namespace simsmoe::ops {

namespace {

// An input without a use that requires a gradient, for an f that reads parameters: without it nothing would be recorded
// where x needs none.
Variable anchor(Device device) { return Variable(Tensor::zeros({1}, DType::f32, device), true); }

}  // namespace

Variables recompute(const Variable& x, const std::function<Variables(const Variable& x)>& f) {
  const profile::Scope scope("recompute");
  check_float("recompute", x);
  SMX_CHECK(f != nullptr, "[recompute] expected a function");
  Variables inputs{x};
  std::vector<Tensor> outputs;
  {
    const TapePause pause;
    bool teaches = false;  // a parameter: it was read, or is itself a result
    for (const Variable& y : f(x.detach())) {
      outputs.push_back(y.value());
      teaches = teaches || y.requires_grad();
    }
    if (teaches || pause.missed()) inputs.push_back(anchor(x.device()));
  }
  //  With y = f(x) again on an inner tape: dx and the gradients of the parameters by its backward pass from dy
  return record("recompute", inputs, outputs,
                [value = x.value(), f, count = outputs.size()](BackwardContext& ctx) {
                  const Variable again(value, ctx.wants(0));
                  const GradTarget dx = ctx.wants(0) ? ctx.target(0) : GradTarget{};
                  // The inner tape adds to what has arrived already, as it would without this node.
                  if (dx.accumulate) again.share_grad(dx.buffer);
                  Tape tape;
                  const Variables ys = f(again);
                  SMX_CHECK(ys.size() == count, "[recompute] f gave {} results, then {}", count, ys.size());
                  Variables reached;
                  std::vector<Tensor> dys;
                  for (std::size_t i = 0; i < count; ++i) {
                    if (!ys[i].requires_grad()) continue;
                    reached.push_back(ys[i]);
                    dys.push_back(ctx.grad_output(static_cast<int>(i)));
                  }
                  if (!reached.empty()) tape.backward(reached, dys);
                  if (!ctx.wants(0) || dx.accumulate) return;
                  if (again.grad().defined())
                    SMX_DISPATCH(reshape_backward, value.device(), again.grad(), dx);
                  else
                    dx.buffer.fill(0.0);
                });
}

}  // namespace simsmoe::ops
