#include "tests/moe/router_contract/bench.hpp"

#include <algorithm>

#include "engine/philox.hpp"
#include "nn/layers.hpp"
#include "ops/binary.hpp"
#include "ops/reduce.hpp"

namespace simsmoe::testing {

namespace {

constexpr std::string_view kLayer = "moe", kRouter = "moe.router.";

// Notes what the router decided in the last pass of its layer.
class ObservedRouter : public moe::Router {
 public:
  ObservedRouter(std::unique_ptr<moe::Router> router, std::shared_ptr<moe::RouterOutput> last)
      : router_(std::move(router)), last_(std::move(last)) {}

  moe::RouterOutput route(const Variable& x, const moe::Experts& experts,
                          nn::ForwardContext& ctx) const override {
    *last_ = router_->route(x, experts, ctx);
    return *last_;
  }
  nn::Account account() const override { return router_->account(); }

 private:
  std::unique_ptr<moe::Router> router_;
  std::shared_ptr<moe::RouterOutput> last_;
};

Snapshot copy_of(const nn::ParameterStore& store) {
  Snapshot all;
  for (const nn::Parameter& p : store.parameters())
    all.push_back({p.variable.name(), p.variable.value().clone()});
  for (const NamedTensor& buffer : store.buffers()) all.push_back({buffer.name, buffer.tensor.clone()});
  return all;
}

}  // namespace

std::string_view name_of(Mode mode) { return mode == Mode::training ? "training" : "evaluation"; }

Tensor drawn(const Shape& shape, std::string_view name, DType dtype) {
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  const RandomKey key{11, stream_of(name)};
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = 2.0 * static_cast<double>(random_uniform(key, 0, i)) - 1.0;
  return Tensor::from(values, shape).to(dtype);
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

bool finite(const Variable& value) { return !value.defined() || all_finite(value.value()); }

bool all_zero(const Tensor& tensor) {
  return std::ranges::all_of(tensor.to_vector<double>(), [](double v) { return v == 0.0; });
}

const nn::LossTerm* Pass::loss(std::string_view name) const {
  const auto& terms = ctx.losses.terms();
  const auto found = std::ranges::find(terms, name, &nn::LossTerm::name);
  return found == terms.end() ? nullptr : &*found;
}

Bench::Bench(const Promise& p, DType dtype, const Snapshot* saved)
    : promise(p), store(3, dtype), last_route_(std::make_shared<moe::RouterOutput>()) {
  if (saved) store.preload(*saved);
  layer_ =
      std::make_unique<moe::MoeLayer>(nn::Scope(store, std::string(kLayer)), observed(p.options), p.site);
}

Bench::Bench(const Promise& p, DType dtype) : Bench(p, dtype, nullptr) {
  for (const nn::Parameter& parameter : store.parameters())
    if (const Tensor& value = parameter.variable.value(); parameter.options.trainable && all_zero(value))
      value.copy_from(drawn(value.shape(), parameter.variable.name(), dtype));
}

Bench::Bench(const Promise& p, const Snapshot& saved) : Bench(p, DType::f64, &saved) {
  const std::vector<std::string> left = store.load_report().ignored;
  expect(left.empty(), "the fresh layer does not ask for {}", fmt::join(left, ", "));
}

moe::MoeOptions Bench::observed(moe::MoeOptions options) {
  moe::RouterKind watched = options.kind();
  watched.traits = [traits = options.traits()](const moe::MoeOptions&) { return traits; };
  watched.options = options.router_options();
  watched.make = [make = options.kind().make, last = last_route_](
                     const nn::Scope& scope, const moe::MoeOptions& o, const nn::Site& site) {
    return std::make_unique<ObservedRouter>(make(scope, o, site), last);
  };
  options.custom_router = watched;
  return options;
}

Tokens Bench::tokens(std::int64_t count, std::string_view name) const {
  Tokens made{.x = Variable(drawn({1, count, promise.site.dim}, name, store.dtype()), true, "x"), .ids = {}};
  const std::int64_t vocab = promise.site.vocab;
  if (vocab < 1) return made;
  std::vector<std::int32_t> ids;
  const RandomKey key{13, stream_of(name)};
  for (std::int64_t t = 0; t < count; ++t)
    ids.push_back(static_cast<std::int32_t>(random_bits(key, 0, static_cast<std::uint64_t>(t)) %
                                            static_cast<std::uint64_t>(vocab)));
  made.ids = Tensor::from(ids, {count});
  return made;
}

Tokens Bench::picked(const Tokens& from, const std::vector<std::int64_t>& rows) const {
  const std::vector<double> x = from.x.value().to_vector<double>();
  const auto count = static_cast<std::int64_t>(rows.size());
  std::vector<double> values;
  for (const std::int64_t row : rows)
    values.insert(values.end(), x.begin() + row * promise.site.dim, x.begin() + (row + 1) * promise.site.dim);
  const Tensor picked_x = Tensor::from(values, {1, count, promise.site.dim}).to(store.dtype());
  Tokens made{.x = Variable(picked_x, true, "x"), .ids = {}};
  if (!from.ids.defined()) return made;
  const std::vector<std::int32_t> old_ids = from.ids.to_vector<std::int32_t>();
  std::vector<std::int32_t> ids;
  for (const std::int64_t row : rows) ids.push_back(old_ids[static_cast<std::size_t>(row)]);
  made.ids = Tensor::from(ids, {count});
  return made;
}

Tokens Bench::scaled(const Tokens& from, double factor) const {
  std::vector<double> values = from.x.value().to_vector<double>();
  for (double& value : values) value *= factor;
  return {.x = Variable(Tensor::from(values, from.x.shape()).to(store.dtype()), true, "x"), .ids = from.ids};
}

nn::ForwardContext Bench::context(Mode mode, std::uint64_t draw) const {
  nn::ForwardContext ctx;
  ctx.training = mode == Mode::training;
  ctx.step = promise.step;
  ctx.draw = draw;
  return ctx;
}

Pass Bench::run(const Tokens& tokens, nn::ForwardContext ctx) const {
  ctx.token_ids = tokens.ids;
  Pass pass;
  pass.y = layer_->forward(tokens.x, ctx);
  pass.route = *last_route_;
  *last_route_ = {};  // it would keep Variables beyond their tape
  pass.ctx = std::move(ctx);
  return pass;
}

void Bench::learn(const Tokens& tokens) const {
  Pass pass = run(tokens, Mode::training);
  pass.ctx.observed.end_step(pass.ctx.step);
}

Variable Bench::task(const Pass& pass) const {
  const Variable direction(drawn(pass.y.shape(), "direction", store.dtype()));
  return ops::sum(ops::mul(nn::to_dtype(pass.y, store.dtype()), direction));
}

Variable Bench::objective(const Pass& pass) const {
  const Variable losses = pass.ctx.losses.total();
  return losses.defined() ? ops::add(task(pass), losses) : task(pass);
}

void Bench::train(nn::Optimizer& optimizer, const Tokens& tokens, std::uint64_t number) const {
  store.clear_grads();
  nn::ForwardContext ctx = context(Mode::training, number);
  ctx.step += number;
  Tape tape;
  Pass pass = run(tokens, ctx);
  tape.backward(objective(pass));
  pass.ctx.observed.end_step(ctx.step);
  optimizer.step(store, 0.01);
}

std::vector<nn::Parameter> Bench::router_parameters() const {
  std::vector<nn::Parameter> mine;
  for (const nn::Parameter& parameter : store.parameters())
    if (parameter.variable.name().starts_with(kRouter)) mine.push_back(parameter);
  return mine;
}

std::string Bench::short_name(const nn::Parameter& parameter) const {
  return parameter.variable.name().substr(kRouter.size());
}

Snapshot Bench::snapshot() const { return copy_of(store); }

std::string Bench::difference(const Snapshot& saved, std::string_view among) const {
  for (const NamedTensor& now : copy_of(store)) {
    if (now.name.find(among) == std::string::npos) continue;
    const auto before = std::ranges::find(saved, now.name, &NamedTensor::name);
    if (before == saved.end() || before->tensor.to_vector<double>() != now.tensor.to_vector<double>())
      return now.name;
  }
  return {};
}

}  // namespace simsmoe::testing
