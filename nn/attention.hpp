#pragma once
// The sublayer of a decoder in which positions read one another: an interface, because decoders differ in what is read
// and in what is kept of the past, and causal self-attention. The scores are computed in tiles by ops::attention.

#include <functional>
#include <memory>

#include "nn/context.hpp"
#include "nn/fields.hpp"
#include "nn/layers.hpp"
#include "nn/scope.hpp"
#include "nn/site.hpp"

namespace simsmoe::nn {

// What an attention sublayer is told of the positions before those of a pass.
struct Past {
  std::int64_t position = 0;  // how many they are
  Tensor kept;  // of them, in a form of the sublayer's own; undefined: the sequence is this pass alone
};

struct Attended {
  Variable y;
  Tensor kept;  // for the positions that follow; undefined where past.kept is
};

class Attention {
 public:
  virtual ~Attention() = default;
  // x: [B, T, D], the positions behind `past` -> [B, T, D]. No gradient reaches what is kept. The same pass again gives
  // the same bits: memory that old and new `kept` share is only written behind past.position.
  virtual Attended forward(const Variable& x, const Past& past, ForwardContext& ctx) const = 0;
  // What is kept before the first position of B = batch sequences that may become `capacity` positions long.
  virtual Tensor begin(std::int64_t batch, std::int64_t capacity) const = 0;
  virtual Account account(std::int64_t length) const = 0;  // FLOPs averaged over the positions of a sequence
};

// Makes the attention of a decoder's sublayer under `scope`.
using AttentionFactory = std::function<std::unique_ptr<Attention>(const Scope& scope, const Site& site)>;

struct SelfAttentionOptions {
  std::int64_t heads = 4;      // H; divides D, and D / H is even when rotary
  std::int64_t key_heads = 0;  // G; divides H; 0: H
  std::int64_t window = 0;     // a position sees itself and the window - 1 before it; 0: all before it
  bool bias = false;           // of both projections
  bool rotary = false;  // turn queries and keys by their position (Su et al. 2021); no field: see Positions

  void fields(FieldList& add);
  void check(std::int64_t dim) const;  // throws UserError
};

// Causal self-attention with one packed projection for queries, keys and values; grouped queries (Ainslie et al. 2023)
// and a sliding window are options. Keeps keys and values, [2, B, capacity, G, C] with C = D / H, in inference only.
// Throws UserError on options that do not fit.
AttentionFactory self_attention(SelfAttentionOptions options);

}  // namespace simsmoe::nn
