// The layers of make_router_golden.py built here: what each router chooses, the output, every auxiliary loss,
// every gradient, the state afterwards and the output in evaluation must agree with PyTorch.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "moe/moe_layer.hpp"
#include "ops/binary.hpp"
#include "ops/reduce.hpp"
#include "tests/golden/golden.hpp"

namespace simsmoe::moe {

namespace {

constexpr double kBound = 1e-10;

struct Case {
  std::string name;  // in CASES of make_router_golden.py
  MoeOptions options;
  std::uint64_t step = 0;
};

using Change = void (*)(MoeOptions&);

void as_is(MoeOptions&) {}

// The constants of make_router_golden.py and what its routers fix.
Case base(std::string name, std::string router, std::int64_t k, Change change = as_is) {
  MoeOptions o;
  o.router = std::move(router);
  o.k = k;
  o.experts = 5;
  o.hidden = 7;
  o.bias = true;
  o.router_bias = true;
  o.z_weight = 0.001;
  o.set("xmoe.dim", 3);
  o.k_schedule.shape = KShape::none;
  o.set("stablemoe.distilled_dim", 4);
  o.set("hyper.size", 8);
  o.set("compete.rate", 1.0);
  o.set("compete.warmup", 0.0);
  change(o);
  return {std::move(name), o};
}

void as_published(MoeOptions& o) { o.variant = Variant::reference; }

Case reference(std::string name, std::string router, std::int64_t k) {
  return base(std::move(name), std::move(router), k, as_published);
}

Case at_step(std::uint64_t step, Case c) {
  c.step = step;
  return c;
}

Case compete(std::string name, Change change) { return base("compete." + name, "compete", 2, change); }

Case compete1(std::string name, Change change) {
  Case c = base("compete1." + name, "compete", 2, change);
  c.options.set("compete.version", 1);
  c.options.set("compete.schedule", "bernoulli");
  return c;
}

// No z-loss; lambda is that of the file.
Case remoe(std::string name, std::int64_t k, Change change = as_is) {
  return base("remoe." + name, "remoe", k, change);
}

Case similarity(std::string name, Change change, std::int64_t k = 2) {
  Case c = base("similarity." + name, "smoe", k);
  c.options.similarity.enabled = true;
  c.options.similarity.beta = 0.05;
  c.options.similarity.frequency = 1e-6;
  c.options.similarity.threshold = -1e3;  // below any likeness
  change(c.options);
  return c;
}

Case cka(std::string kernel, std::string estimator) {
  Case c = similarity(kernel + "." + estimator, as_is);
  c.options.set("similarity.kernel", std::move(kernel)).set("similarity.estimator", std::move(estimator));
  return c;
}

Case likeness(std::string loss) {
  Case c = similarity(loss, as_is);
  c.options.set("similarity.loss", std::move(loss));
  return c;
}

std::vector<Case> cases() {
  return {
      base("smoe.k1", "smoe", 1),
      base("smoe.k2", "smoe", 2),
      base("smoe.k5", "smoe", 5),
      base("smoe.softmax_topk", "smoe", 2,
           [](MoeOptions& o) { o.router_order = SelectionOrder::softmax_topk; }),
      reference("smoe.reference", "smoe", 2),
      reference("smoe.reference.k1", "smoe", 1),
      base("smoe.first_choice", "smoe", 2, [](MoeOptions& o) { o.balance = Balance::first_choice; }),
      base("smoe.sequence", "smoe", 2, [](MoeOptions& o) { o.balance = Balance::sequence; }),
      base("noisy_topk.k1", "noisy_topk", 1),
      base("noisy_topk.k2", "noisy_topk", 2),
      base("noisy_topk.k5", "noisy_topk", 5),
      reference("noisy_topk.reference", "noisy_topk", 2),
      base("switch.paper", "switch", 1),
      reference("switch.reference", "switch", 1),
      base("gshard.paper", "gshard", 2),
      reference("gshard.reference", "gshard", 2),
      base("sigmoid.k1", "sigmoid", 1),
      base("sigmoid.k2", "sigmoid", 2),
      reference("sigmoid.reference", "sigmoid", 2),
      base("loss_free", "loss_free", 2),
      base("random.paper", "random", 2),
      reference("random.reference", "random", 2),
      base("hash", "hash", 2),
      base("expert_choice", "expert_choice", 2),
      base("xmoe.k1", "xmoe", 1),
      base("xmoe.k2", "xmoe", 2),
      reference("xmoe.reference", "xmoe", 2),
      base("stablemoe.stage1.k1", "stablemoe", 1),
      base("stablemoe.stage1.k2", "stablemoe", 2),
      at_step(50, base("stablemoe.stage2", "stablemoe", 2)),
      base("stablemoe_lite", "stablemoe_lite", 2),
      base("smoe_dropout", "smoe_dropout", 2),
      base("hyper", "hyper", 2),
      base("hyper.trainable", "hyper", 2, [](MoeOptions& o) { o.set("hyper.trainable", true); }),
      base("compete.k1", "compete", 1),
      base("compete.k2", "compete", 2),
      compete("hybrid", [](MoeOptions& o) { o.set("compete.hybrid", 0.2); }),
      compete("router_step", [](MoeOptions& o) { o.set("compete.rate", 0.0); }),
      compete("relu", [](MoeOptions& o) { o.set("compete.response", "relu"); }),
      compete("silu", [](MoeOptions& o) { o.set("compete.response", "silu"); }),
      compete("sigmoid", [](MoeOptions& o) { o.set("compete.response", "sigmoid"); }),
      compete("norm", [](MoeOptions& o) { o.set("compete.response", "norm"); }),
      compete("k3", [](MoeOptions& o) { o.k = 3; }),
      compete("reference", as_published),
      compete("reference_router_step",
              [](MoeOptions& o) {
                as_published(o);
                o.set("compete.rate", 0.0);
              }),
      compete1("mse", as_is),
      compete1("kl", [](MoeOptions& o) { o.set("compete.distillation", "kl"); }),
      compete1("combine_router", [](MoeOptions& o) { o.set("compete.combine_router", true); }),
      compete1("balance_responses", [](MoeOptions& o) { o.set("compete.balance_responses", true); }),
      compete1("reference",
               [](MoeOptions& o) {
                 as_published(o);
                 o.set("compete.balance_responses", true);
               }),
      remoe("k1", 1),
      remoe("k4", 4),
      remoe("cap", 2, [](MoeOptions& o) { o.set("remoe.cap", 2); }),
      remoe("reference", 2, as_published),
      cka("linear", "biased"),
      cka("linear", "debiased"),
      cka("rbf", "biased"),
      cka("rbf", "debiased"),
      cka("rbf_median", "biased"),
      cka("rbf_median", "debiased"),
      likeness("cosine"),
      likeness("abs_cosine"),
      likeness("infonce"),
      likeness("dcl"),
      likeness("nt_xent"),
      similarity("normalized",
                 [](MoeOptions& o) {
                   o.similarity.kernel = KernelChoice::linear;
                   o.similarity.estimator = Estimator::biased;
                   o.similarity.normalize = true;
                 }),
      similarity("frequency", [](MoeOptions& o) { o.similarity.frequency = 0.4; }),
      similarity("k1", as_is, 1),
      similarity("k3", as_is, 3),
      similarity("reference", as_published),
  };
}

// The layer of a case, with the parameters of the file.
struct Layer {
  Layer(const TensorFile& file, const Case& c) {
    std::vector<NamedTensor> initial = part(file, "shared/initial/");
    for (const NamedTensor& own : part(file, c.name + "/initial/")) initial.push_back(own);
    store.preload(initial);
    store.require_preloaded(false);  // the file lacks buffers of bookkeeping alone
    moe = std::make_unique<MoeLayer>(nn::Scope(store, "moe"), c.options,
                                     nn::Site{.dim = file.at("shared/x").size(-1), .vocab = 9, .steps = 100});
    REQUIRE(store.load_report().ignored.empty());
    for (const nn::Parameter& parameter : store.parameters())
      REQUIRE(std::ranges::count(initial, parameter.variable.name(), &NamedTensor::name) == 1);
  }

  nn::ParameterStore store{11, DType::f64};
  std::unique_ptr<MoeLayer> moe;
};

nn::ForwardContext context(const TensorFile& file, const Case& c, bool training) {
  nn::ForwardContext ctx;
  ctx.training = training;
  ctx.step = c.step;
  ctx.draw = 3;
  ctx.token_ids = file.at("shared/token_ids");
  return ctx;
}

void compare_choice(const TensorFile& file, const Case& c) {
  Layer layer(file, c);
  nn::ForwardContext ctx = context(file, c, true);
  const Tensor& x = file.at("shared/x");
  const Variable tokens(x.view({x.size(0) * x.size(1), x.size(2)}));
  const Tensor experts = layer.moe->router().route(tokens, layer.moe->experts(), ctx).experts;
  CHECK(experts.to_vector<std::int32_t>() == file.at(c.name + "/experts").to_vector<std::int32_t>());
}

// One training pass with the objective sum(dy * y) + the auxiliary losses, and back.
void compare_pass(const TensorFile& file, const Case& c, Layer& layer) {
  nn::ForwardContext ctx = context(file, c, true);
  const Variable x(file.at("shared/x"), true);
  Tape tape;
  const Variable y = layer.moe->forward(x, ctx);
  CHECK(relative_error(y.value(), file.at(c.name + "/y")) < kBound);

  const auto losses = ctx.losses.by_name();
  REQUIRE(losses.size() == part(file, c.name + "/loss/").size());
  for (const auto& [name, value] : losses) {
    CAPTURE(name);
    CHECK(relative_error(value, file.at(c.name + "/loss/" + name).item()) < kBound);
  }

  Variable objective = ops::sum(ops::mul(y, Variable(file.at("shared/dy"))));
  if (!losses.empty()) objective = ops::add(objective, ctx.losses.total());
  tape.backward(objective);
  CHECK(relative_error(x.grad(), file.at(c.name + "/gradient/x")) < kBound);
  std::size_t gradients = 1;
  for (const nn::Parameter& parameter : layer.store.parameters()) {
    CAPTURE(parameter.variable.name());
    const Tensor* theirs = file.find(c.name + "/gradient/" + parameter.variable.name());
    REQUIRE(parameter.variable.grad().defined() == (theirs != nullptr));
    if (theirs == nullptr) continue;
    CHECK(relative_error(parameter.variable.grad(), *theirs) < kBound);
    ++gradients;
  }
  CHECK(gradients == part(file, c.name + "/gradient/").size());
  ctx.observed.end_step(ctx.step);
}

// What the file does not list as changed keeps its bits.
void compare_state(const TensorFile& file, const Case& c, const Layer& layer) {
  std::map<std::string, Tensor> state;
  for (const nn::Parameter& parameter : layer.store.parameters())
    state[parameter.variable.name()] = parameter.variable.value();
  for (const NamedTensor& buffer : layer.store.buffers()) state[buffer.name] = buffer.tensor;
  for (const auto& [name, before] : part(file, c.name + "/initial/")) {
    CAPTURE(name);
    const Tensor* after = file.find(c.name + "/after/" + name);
    if (after != nullptr)
      CHECK(relative_error(state.at(name), *after) < kBound);
    else
      CHECK(state.at(name).to_vector<double>() == before.to_vector<double>());
  }
}

// In evaluation the output is the same where the file lists no other.
void compare_evaluation(const TensorFile& file, const Case& c, Layer& layer) {
  nn::ForwardContext ctx = context(file, c, false);
  const Tensor y = layer.moe->forward(Variable(file.at("shared/x")), ctx).value();
  const Tensor* theirs = file.find(c.name + "/eval_y");
  CHECK(relative_error(y, theirs != nullptr ? *theirs : file.at(c.name + "/y")) < kBound);
  CHECK(ctx.losses.terms().empty());
}

}  // namespace

TEST_CASE("Every router agrees with PyTorch to 1e-10") {
  const TensorFile file = read_safetensors(SIMSMOE_GOLDEN_FOLDER "/routers.safetensors");
  std::set<std::string> theirs = {"shared"}, ours = {"shared"};
  for (const NamedTensor& entry : file.tensors) theirs.insert(entry.name.substr(0, entry.name.find('/')));
  for (const Case& c : cases()) ours.insert(c.name);
  REQUIRE(ours == theirs);

  for (const Case& c : cases()) {
    CAPTURE(c.name);
    Layer layer(file, c);
    compare_choice(file, c);
    compare_pass(file, c, layer);
    compare_state(file, c, layer);
    compare_evaluation(file, c, layer);
  }
}

}  // namespace simsmoe::moe
