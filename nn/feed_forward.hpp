#pragma once
// The position-wise sublayer of a decoder: an interface, because configuration chooses between a dense
// network and a mixture of experts at run time, and the dense one.

#include <functional>
#include <memory>

#include "nn/context.hpp"
#include "nn/fields.hpp"
#include "nn/layers.hpp"
#include "nn/scope.hpp"
#include "nn/site.hpp"

namespace simsmoe::nn {

class FeedForward {
 public:
  virtual ~FeedForward() = default;
  // x: [B, T, D] -> [B, T, D]. Changes nothing but the context: the same pass again gives the same bits.
  virtual Variable forward(const Variable& x, ForwardContext& ctx) const = 0;
  virtual Account account() const = 0;
};

// Makes the feed-forward of a decoder's sublayer under `scope`.
using FeedForwardFactory = std::function<std::unique_ptr<FeedForward>(const Scope& scope, const Site& site)>;

enum class Activation : unsigned char { relu, gelu, gelu_tanh, silu };
constexpr auto enum_names(Activation) {
  return std::to_array<std::string_view>({"relu", "gelu", "gelu_tanh", "silu"});
}
Variable activate(Activation activation, const Variable& x);

struct DenseOptions {
  std::int64_t hidden = 512;  // F
  Activation activation = Activation::gelu;
  bool gated = false;
  bool bias = false;

  void fields(FieldList& add);
};

// y = W2 drop(act(W1 x + b1)) + b2; gated (SwiGLU, Shazeer 2020): y = Wd drop(act(Wg x + bg) * (Wu x + bu)) + bd.
// Throws UserError on bad options.
FeedForwardFactory dense_feed_forward(DenseOptions options);

}  // namespace simsmoe::nn
