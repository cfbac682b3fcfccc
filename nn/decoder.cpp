// Construction reads the pattern, walk() goes through the stack; training and generation share it and differ only in
// what attention is told of the past.

#include "nn/decoder.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "nn/recompute.hpp"
#include "ops/binary.hpp"
#include "ops/layout.hpp"
#include "ops/loss.hpp"

namespace simsmoe::nn {

namespace {

constexpr double kSmallStd = 0.02;  // of positions and of a token embedding that is also the head

void require(bool condition, const std::string& message) {
  if (!condition) throw UserError(message);
}

SelfAttentionOptions attention_of(const DecoderOptions& o) {
  SelfAttentionOptions options = o.attention;
  options.rotary = o.positions == Positions::rotary;
  return options;
}

DecoderOptions checked(DecoderOptions options, bool has_injected) {
  validate("model", options);
  require(has_injected || options.pattern.find('g') == std::string::npos,
          fmt::format("model.pattern = '{}' has a 'g' but no feed-forward to put there is given",
                      options.pattern));
  return options;
}

// "attention", "dense" or "feed_forward", with "_2", "_3"... where a letter returns in one layer.
std::string sublayer_name(const std::string& pattern, std::size_t at) {
  const char letter = pattern[at];
  const std::string name = letter == 's' ? "attention" : letter == 'f' ? "dense" : "feed_forward";
  const auto before = std::count(pattern.begin(), pattern.begin() + static_cast<std::ptrdiff_t>(at), letter);
  return before == 0 ? name : fmt::format("{}_{}", name, before + 1);
}

double embedding_std(const DecoderOptions& o) {
  return o.init_std > 0.0 ? o.init_std : o.tie_embeddings ? kSmallStd : 1.0;
}

Linear make_head(const Scope& scope, const Embedding& token, const DecoderOptions& o) {
  if (!o.tie_embeddings) return Linear(scope, o.dim, o.vocab, {.bias = o.head_bias, .init_std = o.init_std});
  return Linear(token.weight, o.head_bias
                                  ? scope.parameter("bias", {o.vocab}, init::zeros(), {.decay = false})
                                  : Variable());
}

}  // namespace

// What the stack stands between. With tied embeddings the head's weight is the token embedding.
struct Decoder::Ends {
  Ends(const Scope& scope, const DecoderOptions& o)
      : token(scope / "token", o.vocab, o.dim, embedding_std(o)),
        head(make_head(scope / "head", token, o)),
        dropout_key(scope.key("dropout")) {
    if (o.positions == Positions::learned)
      position.emplace(scope / "position", o.max_length, o.dim, o.init_std > 0.0 ? o.init_std : kSmallStd);
    if (o.place == NormPlace::pre) norm.emplace(scope / "norm", o.dim, o.norm);
  }

  Embedding token;
  Linear head;
  RandomKey dropout_key;
  std::optional<Embedding> position;  // learned positions
  std::optional<Norm> norm;           // of a pre-norm stack: its residual stream is not normalised otherwise
};

// One step of the stack: either attention or a feed-forward.
struct Decoder::Sublayer {
  Sublayer(const Scope& layer, const std::string& name, const DecoderOptions& o)
      : norm(layer / (name + "_norm"), o.dim, o.norm), dropout_key(layer.key(name + "_dropout")) {}

  // What is added to the residual stream x, in its dtype, whatever the maps compute in. `kept`, of attention alone, is
  // replaced by what is kept behind x.
  Variable branch(const DecoderOptions& o, const Variable& x, std::int64_t position, Tensor& kept,
                  ForwardContext& ctx) const {
    const Variable in = o.place == NormPlace::pre ? norm(x) : x;
    Variable y;
    if (attention) {
      const Attended attended = attention->forward(in, {position, kept}, ctx);
      y = attended.y;
      kept = attended.kept;
    } else {
      y = feed_forward->forward(in, ctx);
    }
    return dropout(to_dtype(y, x.dtype()), o.dropout, dropout_key, ctx);
  }

  Norm norm;
  RandomKey dropout_key;
  std::unique_ptr<Attention> attention;
  std::unique_ptr<FeedForward> feed_forward;
};

void DecoderOptions::fields(FieldList& add) {
  add("dim", &dim, "width of the residual stream (D)", between(1, 65536));
  add("layers", &layers, "how often model.pattern is repeated", between(1, 1024));
  add("pattern", &pattern,
      "sublayers of one layer: s self-attention, f dense feed-forward, g mixture of experts");
  add("norm", &norm, "normalisation");
  add("norm_place", &place, "x + f(norm(x)) or norm(x + f(x))");
  add("positions", &positions, "how positions are told apart");
  add("dropout", &dropout, "on the embeddings, every sublayer's output and the dense activations",
      from_to_below(0, 1));
  add("init_std", &init_std, "standard deviation of new weights; 0: uniform in +-1/sqrt(inputs)",
      at_least(0));
  add("scaled_init", &scaled_init,
      "model.init_std divided by sqrt(sublayers) for what is added to the residual stream, as GPT-2; false: "
      "as "
      "Transformer-XL")
      .read_if(init_std > 0.0, "no model.init_std");
  add("tie_embeddings", &tie_embeddings, "the output layer is the transposed token embedding");
  add("head_bias", &head_bias, "bias of the output layer");
  add.part(attention, pattern.find('s') == std::string::npos ? "no 's' in model.pattern" : "");
  add.part(dense, pattern.find('f') == std::string::npos ? "no 'f' in model.pattern" : "");
}

void DecoderOptions::check() const {
  attention_of(*this).check(dim);
  require(!pattern.empty() && pattern.find_first_not_of("sfg") == std::string::npos,
          fmt::format("model.pattern = '{}': expected one or more of the letters s, f and g", pattern));
  require(vocab >= 1, fmt::format("a model needs a vocabulary of at least 1, got {}", vocab));
  require(max_length >= 1, fmt::format("a model needs sequences of at least 1 token, got {}", max_length));
}

Decoder::Decoder(const Scope& scope, DecoderOptions options, const FeedForwardFactory& injected,
                 const AttentionFactory& attention)
    : options_(checked(std::move(options), injected != nullptr)),
      ends_(std::make_unique<Ends>(scope, options_)) {
  const std::string& pattern = options_.pattern;
  const auto count_of = [&](char letter) { return options_.layers * std::ranges::count(pattern, letter); };
  Site site{.dim = options_.dim,
            .vocab = options_.vocab,
            .steps = options_.steps,
            .dropout = options_.dropout,
            .init_std = options_.init_std,
            .output_std = options_.scaled_init
                              ? init::residual_std(options_.init_std, options_.layers * std::ssize(pattern))
                              : options_.init_std};
  const AttentionFactory attend = attention ? attention : self_attention(attention_of(options_));
  const FeedForwardFactory dense = dense_feed_forward(options_.dense);
  std::map<char, std::int64_t> made;
  for (std::int64_t i = 0; i < options_.layers; ++i) {
    const Scope layer = scope / fmt::format("layers.{}", i);
    for (std::size_t at = 0; at < pattern.size(); ++at) {
      const char letter = pattern[at];
      const std::string name = sublayer_name(pattern, at);
      auto sublayer = std::make_unique<Sublayer>(layer, name, options_);
      site.count = count_of(letter);
      site.index = made[letter]++;
      if (letter == 's')
        sublayer->attention = attend(layer / name, site);
      else
        sublayer->feed_forward = (letter == 'f' ? dense : injected)(layer / name, site);
      sublayers_.push_back(std::move(sublayer));
    }
  }
}

Decoder::~Decoder() = default;

Decoder::Part Decoder::walk(const Tensor& tokens, const DecoderState* state, ForwardContext& ctx) const {
  SMX_CHECK(tokens.defined() && tokens.rank() == 2, "[decoder] expected tokens [B, T], got {}",
            describe(tokens));
  const std::int64_t first = state != nullptr ? state->position : 0, end = first + tokens.size(1);
  SMX_CHECK(!ends_->position || end <= options_.max_length,
            "[decoder] expected at most {} learned positions, got {}", options_.max_length, end);

  ctx.token_ids = tokens;
  Variable x = ends_->token(tokens);
  if (ends_->position) x = ops::add(x, ops::slice(ends_->position->weight, 0, first, end));
  x = dropout(x, options_.dropout, ends_->dropout_key, ctx);

  DecoderState next{end, {}};
  std::size_t slot = 0;
  for (const auto& sublayer : sublayers_) {
    const Tensor before = state != nullptr && sublayer->attention ? state->kept[slot++] : Tensor();
    const auto kept = std::make_shared<Tensor>();  // outlives this pass when the branch is computed again
    const auto branch = [this, &part = *sublayer, before, first, kept](const Variable& in,
                                                                       ForwardContext& here) {
      *kept = before;
      return part.branch(options_, in, first, *kept, here);
    };
    x = ops::add(x, recomputed(x, ctx, branch));
    if (options_.place == NormPlace::post) x = sublayer->norm(x);
    if (sublayer->attention) next.kept.push_back(*kept);
  }
  return {ends_->norm ? (*ends_->norm)(x) : x, std::move(next)};
}

Variable Decoder::hidden(const Tensor& tokens, ForwardContext& ctx) const {
  return walk(tokens, nullptr, ctx).hidden;
}

Decoder::Part Decoder::hidden(const Tensor& tokens, const DecoderState& state, ForwardContext& ctx) const {
  const auto expected = static_cast<std::size_t>(options_.layers * std::ranges::count(options_.pattern, 's'));
  SMX_CHECK(state.kept.size() == expected, "[decoder] expected a state of {} attention sublayers, got {}",
            expected, state.kept.size());
  return walk(tokens, &state, ctx);
}

Variable Decoder::head(const Variable& hidden, ForwardContext& ctx) const { return ends_->head(hidden, ctx); }

Variable Decoder::logits(const Tensor& tokens, ForwardContext& ctx) const {
  return head(hidden(tokens, ctx), ctx);
}

Variable Decoder::loss(const Tensor& tokens, const Tensor& targets, ForwardContext& ctx) const {
  const std::int64_t rows = tokens.numel();
  const Variable flat = ops::reshape(logits(tokens, ctx), {rows, options_.vocab});
  return ops::cross_entropy(flat, targets.view({rows}));
}

DecoderState Decoder::begin(std::int64_t batch, std::int64_t capacity) const {
  DecoderState state;
  for (const auto& sublayer : sublayers_)
    if (sublayer->attention) state.kept.push_back(sublayer->attention->begin(batch, capacity));
  return state;
}

Decoder::Step Decoder::step(const Tensor& tokens, const DecoderState& state, ForwardContext& ctx) const {
  SMX_CHECK(Tape::current() == nullptr, "[decoder] step() is for inference: it records no gradient");
  SMX_CHECK(tokens.defined() && tokens.rank() == 2 && tokens.size(1) >= 1,
            "[decoder] step() needs tokens [B, t] of at least one new position, got {}", describe(tokens));
  const Part part = hidden(tokens, state, ctx);
  const std::int64_t batch = tokens.size(0), count = tokens.size(1);
  const Variable last = ops::reshape(ops::slice(part.hidden, 1, count - 1, count), {batch, options_.dim});
  return {head(last, ctx).value(), part.state};
}

Device Decoder::device() const { return ends_->token.weight.device(); }

Account Decoder::account() const {
  Account sum = ends_->token.account();
  if (ends_->position) sum += ends_->position->account();
  for (const auto& sublayer : sublayers_) {
    sum += sublayer->norm.account();
    sum += sublayer->attention ? sublayer->attention->account(options_.max_length)
                               : sublayer->feed_forward->account();
  }
  if (ends_->norm) sum += ends_->norm->account();
  Account head = ends_->head.account();
  if (options_.tie_embeddings) {  // the weight is counted with the tokens
    head.parameters -= ends_->token.account().parameters;
    head.active_parameters -= ends_->token.account().parameters;
  }
  sum += head;
  return sum;
}

}  // namespace simsmoe::nn
