#pragma once
// The position-wise sublayer of a decoder: an interface, because configuration chooses between a dense
// network and a mixture of experts at run time, and the dense one.

#include <functional>
#include <memory>
#include <string>

#include "nn/context.hpp"
#include "nn/layers.hpp"
#include "nn/scope.hpp"

namespace simsmoe::nn {

class FeedForward {
 public:
  virtual ~FeedForward() = default;
  virtual Variable forward(const Variable& x, ForwardContext& ctx) = 0;  // x: [B, T, D] -> [B, T, D]
  virtual Account account() const = 0;
};

// Makes the feed-forward of a decoder's sublayer under `scope`; `index` counts those that this factory makes, from 0.
using FeedForwardFactory =
    std::function<std::unique_ptr<FeedForward>(const Scope& scope, std::int64_t dim, int index)>;

enum class Activation : unsigned char { relu, gelu, gelu_tanh, silu };
Activation activation_from_name(const std::string& name);  // throws UserError naming the choices
std::string name_of(Activation activation);
Variable activate(Activation activation, const Variable& x);

struct DenseOptions {
  std::int64_t hidden = 0;
  Activation activation = Activation::gelu;
  bool gated = false;  // SwiGLU form (Shazeer 2020): act(x Wg) * (x Wu), then Wd
  bool bias = true;
  double dropout = 0.0;     // after the activation
  double init_std = 0.0;    // see LinearOptions
  double output_std = 0.0;  // the same for the map back to D
};

// y = W2 drop(act(W1 x + b1)) + b2; gated: y = Wd drop(act(Wg x + bg) * (Wu x + bu)) + bd. Throws UserError
// when hidden < 1.
FeedForwardFactory dense_feed_forward(DenseOptions options);

}  // namespace simsmoe::nn
