// The table of activations and the dense feed-forward, plain and gated.

#include "nn/feed_forward.hpp"

#include <array>
#include <optional>

#include "ops/binary.hpp"
#include "ops/unary.hpp"

namespace simsmoe::nn {

namespace {

struct NamedActivation {
  std::string_view name;
  Activation activation;
  Variable (*apply)(const Variable&);
};

constexpr std::array<NamedActivation, 4> kActivations{{{"relu", Activation::relu, ops::relu},
                                                       {"gelu", Activation::gelu, ops::gelu},
                                                       {"gelu_tanh", Activation::gelu_tanh, ops::gelu_tanh},
                                                       {"silu", Activation::silu, ops::silu}}};

const NamedActivation& entry_of(Activation activation) {
  return kActivations.at(static_cast<std::size_t>(activation));
}

class DenseFeedForward : public FeedForward {
 public:
  DenseFeedForward(const Scope& scope, std::int64_t dim, const DenseOptions& options)
      : options_(options),
        up_(scope / "up", dim, options.hidden, inner()),
        down_(scope / "down", options.hidden, dim, {.bias = options.bias, .init_std = options.output_std}),
        dropout_key_(scope.key("dropout")) {
    if (options.gated) gate_.emplace(scope / "gate", dim, options.hidden, inner());
  }

  Variable forward(const Variable& x, ForwardContext& ctx) override {
    Variable h = up_(x, ctx);
    h = gate_ ? ops::mul(activate(options_.activation, (*gate_)(x, ctx)), h)
              : activate(options_.activation, h);
    return down_(dropout(h, options_.dropout, dropout_key_, ctx), ctx);
  }

  Account account() const override {
    Account sum = up_.account();
    sum += down_.account();
    if (gate_) sum += gate_->account();
    return sum;
  }

 private:
  LinearOptions inner() const { return {.bias = options_.bias, .init_std = options_.init_std}; }

  DenseOptions options_;
  Linear up_;                   // [F, D]
  Linear down_;                 // [D, F]
  std::optional<Linear> gate_;  // [F, D]
  RandomKey dropout_key_;
};

}  // namespace

Activation activation_from_name(const std::string& name) {
  std::string choices;
  for (const NamedActivation& entry : kActivations) {
    if (entry.name == name) return entry.activation;
    choices += fmt::format("{}{}", choices.empty() ? "" : ", ", entry.name);
  }
  throw UserError(fmt::format("unknown activation '{}': expected one of {}", name, choices));
}

std::string name_of(Activation activation) { return std::string(entry_of(activation).name); }

Variable activate(Activation activation, const Variable& x) { return entry_of(activation).apply(x); }

FeedForwardFactory dense_feed_forward(DenseOptions options) {
  if (options.hidden < 1)
    throw UserError(
        fmt::format("hidden size of the dense feed-forward must be positive, got {}", options.hidden));
  if (!(options.dropout >= 0.0 && options.dropout < 1.0))
    throw UserError(fmt::format("dropout must be in [0, 1), got {}", options.dropout));
  return [options](const Scope& scope, std::int64_t dim, int) -> std::unique_ptr<FeedForward> {
    return std::make_unique<DenseFeedForward>(scope, dim, options);
  };
}

}  // namespace simsmoe::nn
