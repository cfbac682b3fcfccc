#pragma once
// A decoder-only language model as a stack of described sublayers. Brainformer, GLaM, Mistral, Switch and the
// rest are descriptions (apps/model_factory), not classes. Of experts it knows nothing: 'g' is injected.

#include <memory>
#include <string>
#include <vector>

#include "nn/attention.hpp"
#include "nn/context.hpp"
#include "nn/decoder_state.hpp"
#include "nn/feed_forward.hpp"
#include "nn/scope.hpp"

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
  std::string pattern = "sg";  // one layer: s attention, f dense feed-forward, g injected feed-forward
  NormKind norm = NormKind::layer_norm;
  NormPlace place = NormPlace::pre;
  Positions positions = Positions::learned;
  double dropout = 0.0;  // on the embedding sum, every sublayer's output and the dense activations
  // 0: maps U(+-1/sqrt(in)), token embedding N(0, 1) (N(0, 0.02^2) when tied), positions N(0, 0.02^2).
  // > 0: all of them N(0, init_std^2), the map back to D of every sublayer divided by sqrt(sublayers) where scaled_init says
  // so (GPT-2). Without that and with 0.02 it is what Transformer-XL draws, and HyperRouter and SMoE-Dropout after it.
  double init_std = 0.0;
  bool scaled_init = true;
  bool tie_embeddings = false;  // logits = x E^T with the token embedding E
  bool head_bias = false;
  SelfAttentionOptions attention = {};  // what stands at 's'; rotary follows from positions
  DenseOptions dense = {};              // what stands at 'f'

  // What the data and the training decide.
  std::int64_t vocab = 256;       // V
  std::int64_t max_length = 128;  // longest T (learned positions)
  std::int64_t steps = 0;         // of the whole training; 0: unknown

  void fields(FieldList& add);
  void check() const;  // throws UserError
};

class Decoder {
 public:
  // `injected` makes what stands at 'g'; empty: the pattern has none. `attention` makes what stands at 's'; empty: the
  // self-attention of the options. Throws UserError on bad options.
  Decoder(const Scope& scope, DecoderOptions options, const FeedForwardFactory& injected,
          const AttentionFactory& attention = {});
  ~Decoder();

  // tokens: i32 [B, T], T <= max_length -> [B, T, V]
  Variable logits(const Tensor& tokens, ForwardContext& ctx) const;
  // Mean next-token cross-entropy in nats (the task loss alone; auxiliary losses are in ctx.losses).
  Variable loss(const Tensor& tokens, const Tensor& targets,
                ForwardContext& ctx) const;  // both i32 [B, T] -> []

  // What a head of any kind reads: the stack below the head, behind its last norm. tokens: i32 [B, T] -> [B, T, D]
  Variable hidden(const Tensor& tokens, ForwardContext& ctx) const;
  Variable head(const Variable& hidden, ForwardContext& ctx) const;  // [..., D] -> [..., V]

  // The same for sequences that come in parts. A pass takes the state of the positions before its own, which it leaves
  // as it is, and returns that of the positions up to its last.
  struct Part {
    Variable hidden;
    DecoderState state;
  };
  DecoderState begin(std::int64_t batch,
                     std::int64_t capacity) const;  // of sequences of up to `capacity` positions
  Part hidden(const Tensor& tokens, const DecoderState& state, ForwardContext& ctx) const;

  // Generation: logits of the last of the new positions, i32 [B, t] -> [B, V]. Inference only.
  struct Step {
    Tensor logits;
    DecoderState state;
  };
  Step step(const Tensor& tokens, const DecoderState& state, ForwardContext& ctx) const;

  const DecoderOptions& options() const { return options_; }
  Device device() const;    // where its parameters are, and tokens have to be
  Account account() const;  // of the whole model; FLOPs at a sequence of max_length

 private:
  struct Sublayer;
  Part walk(const Tensor& tokens, const DecoderState* state, ForwardContext& ctx) const;

  DecoderOptions options_;
  struct Ends;  // embeddings, final norm, head
  std::unique_ptr<Ends> ends_;
  std::vector<std::unique_ptr<Sublayer>> sublayers_;
};

}  // namespace simsmoe::nn
