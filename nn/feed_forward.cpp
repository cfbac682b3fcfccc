// The activations, and the dense feed-forward, plain and gated.

#include "nn/feed_forward.hpp"

#include <array>
#include <optional>

#include "ops/binary.hpp"
#include "ops/unary.hpp"

namespace simsmoe::nn {

namespace {

class DenseFeedForward : public FeedForward {
 public:
  DenseFeedForward(const Scope& scope, const DenseOptions& options, const Site& site)
      : activation_(options.activation),
        dropout_(site.dropout),
        up_(scope / "up", site.dim, options.hidden, {.bias = options.bias, .init_std = site.init_std}),
        down_(scope / "down", options.hidden, site.dim, {.bias = options.bias, .init_std = site.output_std}),
        dropout_key_(scope.key("dropout")) {
    if (options.gated)
      gate_.emplace(scope / "gate", site.dim, options.hidden,
                    LinearOptions{.bias = options.bias, .init_std = site.init_std});
  }

  Variable forward(const Variable& x, ForwardContext& ctx) const override {
    Variable h = up_(x, ctx);
    h = gate_ ? ops::mul(activate(activation_, (*gate_)(x, ctx)), h) : activate(activation_, h);
    return down_(dropout(h, dropout_, dropout_key_, ctx), ctx);
  }

  Account account() const override {
    Account sum = up_.account();
    sum += down_.account();
    if (gate_) sum += gate_->account();
    return sum;
  }

 private:
  Activation activation_;
  double dropout_;
  Linear up_;                   // [F, D]
  Linear down_;                 // [D, F]
  std::optional<Linear> gate_;  // [F, D]
  RandomKey dropout_key_;
};

}  // namespace

Variable activate(Activation activation, const Variable& x) {
  constexpr std::array<Variable (*)(const Variable&), 4> kFunctions{ops::relu, ops::gelu, ops::gelu_tanh,
                                                                    ops::silu};
  static_assert(kFunctions.size() == kNamesOf<Activation>.size());
  return kFunctions.at(static_cast<std::size_t>(activation))(x);
}

void DenseOptions::fields(FieldList& add) {
  add("hidden", &hidden, "inner size of a dense feed-forward ('f')", between(1, 1 << 20));
  add("activation", &activation, "of a dense feed-forward");
  add("gated", &gated, "dense feed-forward in its gated form: act(x Wg) * (x Wu), then Wd");
  add("bias", &bias, "bias in a dense feed-forward");
}

FeedForwardFactory dense_feed_forward(DenseOptions options) {
  validate("dense", options);
  return [options](const Scope& scope, const Site& site) -> std::unique_ptr<FeedForward> {
    return std::make_unique<DenseFeedForward>(scope, options, site);
  };
}

}  // namespace simsmoe::nn
