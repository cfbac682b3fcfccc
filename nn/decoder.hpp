#pragma once
// A decoder-only language model as a stack of described sublayers. Brainformer, GLaM, Mistral, Switch and the
// rest are descriptions (apps/model_factory), not classes. Of experts it knows nothing: 'g' is injected.

#include <memory>
#include <string>
#include <vector>

#include "nn/context.hpp"
#include "nn/feed_forward.hpp"
#include "nn/scope.hpp"
#include "nn/self_attention.hpp"

namespace simsmoe::nn {

enum class NormPlace : unsigned char { pre, post };  // x + f(norm(x))  or  norm(x + f(x))
constexpr auto enum_names(NormPlace) { return std::to_array<std::string_view>({"pre", "post"}); }
enum class Positions : unsigned char { learned, rotary, none };
constexpr auto enum_names(Positions) {
  return std::to_array<std::string_view>({"learned", "rotary", "none"});
}

struct DecoderOptions {
  std::int64_t dim = 128;      // D
  std::int64_t layers = 4;     // repeats of `pattern`
  std::int64_t heads = 4;      // H; must divide dim
  std::string pattern = "sg";  // one layer: s attention, f dense feed-forward, g injected feed-forward
  NormKind norm = NormKind::layer_norm;
  NormPlace place = NormPlace::pre;
  Positions positions = Positions::learned;
  double dropout = 0.0;  // on the embedding sum, every sublayer's output and the dense activations
  // 0: maps U(+-1/sqrt(in)), token embedding N(0, 1) (N(0, 0.02^2) when tied), positions N(0, 0.02^2).
  // > 0: all of them N(0, init_std^2), those that add to the residual stream divided by sqrt(sublayers).
  double init_std = 0.0;
  bool tie_embeddings = false;  // logits = x E^T with the token embedding E
  bool attention_bias = false;
  bool head_bias = false;
  DenseOptions dense = {};  // what stands at 'f'

  // What the data and the training decide.
  std::int64_t vocab = 256;       // V
  std::int64_t max_length = 128;  // longest T (learned positions)
  std::int64_t steps = 0;         // of the whole training; 0: unknown

  void fields(FieldList& add);
  void check() const;  // throws UserError
};

// Keys and values of the positions seen so far, one [2, B, max_length, H, C] tensor per attention sublayer.
struct KeyValueCache {
  std::vector<Tensor> layers;
  std::int64_t length = 0;
};

class Decoder {
 public:
  // `injected` makes what stands at 'g'; empty: the pattern has none. Throws UserError on bad options.
  Decoder(const Scope& scope, DecoderOptions options, const FeedForwardFactory& injected);
  ~Decoder();

  // tokens: i32 [B, T], T <= max_length -> [B, T, V]
  Variable logits(const Tensor& tokens, ForwardContext& ctx) const;
  // What a head of any kind reads: the stack below the head, behind its last norm. tokens: i32 [B, T] -> [B, T, D]
  Variable hidden(const Tensor& tokens, ForwardContext& ctx) const { return hidden(tokens, nullptr, ctx); }
  // Mean next-token cross-entropy in nats (the task loss alone; auxiliary losses are in ctx.losses).
  Variable loss(const Tensor& tokens, const Tensor& targets,
                ForwardContext& ctx) const;  // both i32 [B, T] -> []

  KeyValueCache make_cache(std::int64_t batch, std::int64_t max_length) const;
  // Logits of the last of the new positions; appends them to the cache. Inference only.
  Tensor step(const Tensor& tokens, KeyValueCache& cache, ForwardContext& ctx) const;  // i32 [B, t] -> [B, V]

  const DecoderOptions& options() const { return options_; }
  Account account() const;  // of the whole model; FLOPs at a sequence of max_length

 private:
  struct Sublayer;
  // [B, t] -> [B, t, D], continuing `cache` when there is one.
  Variable hidden(const Tensor& tokens, KeyValueCache* cache, ForwardContext& ctx) const;

  DecoderOptions options_;
  struct Ends;  // embeddings, final norm, head
  std::unique_ptr<Ends> ends_;
  std::vector<std::unique_ptr<Sublayer>> sublayers_;
};

}  // namespace simsmoe::nn
