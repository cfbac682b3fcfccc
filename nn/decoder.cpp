// Construction reads the pattern, hidden() walks the stack; training and generation share it and differ only
// in the call of attention.

#include "nn/decoder.hpp"

#include <algorithm>
#include <optional>

#include "ops/binary.hpp"
#include "ops/layout.hpp"
#include "ops/loss.hpp"

namespace simsmoe::nn {

namespace {

constexpr double kSmallStd = 0.02;  // of positions and of a token embedding that is also the head

void require(bool condition, const std::string& message) {
  if (!condition) throw UserError(message);
}

void check(const DecoderOptions& o, bool has_injected) {
  const auto positive = [](std::string_view name, std::int64_t value) {
    require(value >= 1, fmt::format("{} must be at least 1, got {}", name, value));
  };
  positive("vocab", o.vocab);
  positive("dim", o.dim);
  positive("heads", o.heads);
  positive("layers", o.layers);
  positive("max_length", o.max_length);
  require(o.dim % o.heads == 0, fmt::format("heads = {} must divide dim = {}", o.heads, o.dim));
  require(!o.pattern.empty(), "pattern must name at least one sublayer");
  for (const char letter : o.pattern)
    require(std::string_view("sfg").find(letter) != std::string_view::npos,
            fmt::format(
                "pattern '{}' has an unknown letter '{}': expected s (attention), f (dense feed-forward) or "
                "g (injected feed-forward)",
                o.pattern, letter));
  require(has_injected || o.pattern.find('g') == std::string::npos,
          fmt::format("pattern '{}' has a 'g' but no feed-forward to put there is given", o.pattern));
  require(o.dropout >= 0.0 && o.dropout < 1.0, fmt::format("dropout must be in [0, 1), got {}", o.dropout));
  require(o.init_std >= 0.0, fmt::format("init_std must be at least 0, got {}", o.init_std));
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

  Norm norm;
  RandomKey dropout_key;
  std::optional<SelfAttention> attention;
  std::unique_ptr<FeedForward> feed_forward;
};

Decoder::Decoder(const Scope& scope, DecoderOptions options, const FeedForwardFactory& injected)
    : options_(std::move(options)) {
  check(options_, injected != nullptr);
  ends_ = std::make_unique<Ends>(scope, options_);

  const auto count = options_.layers * static_cast<std::int64_t>(options_.pattern.size());
  options_.dense.init_std = options_.init_std;
  options_.dense.output_std = init::residual_std(options_.init_std, count);
  const SelfAttentionOptions attention{.heads = options_.heads,
                                       .bias = options_.attention_bias,
                                       .rotary = options_.positions == Positions::rotary,
                                       .init_std = options_.init_std,
                                       .output_std = options_.dense.output_std};
  const bool has_dense = options_.pattern.find('f') != std::string::npos;
  const FeedForwardFactory dense = has_dense ? dense_feed_forward(options_.dense) : FeedForwardFactory{};
  int dense_made = 0, injected_made = 0;
  for (std::int64_t i = 0; i < options_.layers; ++i) {
    const Scope layer = scope / fmt::format("layers.{}", i);
    for (std::size_t at = 0; at < options_.pattern.size(); ++at) {
      const char letter = options_.pattern[at];
      const std::string name = sublayer_name(options_.pattern, at);
      auto sublayer = std::make_unique<Sublayer>(layer, name, options_);
      if (letter == 's') {
        sublayer->attention.emplace(layer / name, options_.dim, attention);
      } else {
        sublayer->feed_forward = letter == 'f' ? dense(layer / name, options_.dim, dense_made++)
                                               : injected(layer / name, options_.dim, injected_made++);
      }
      sublayers_.push_back(std::move(sublayer));
    }
  }
}

Decoder::~Decoder() = default;

Variable Decoder::hidden(const Tensor& tokens, KeyValueCache* cache, ForwardContext& ctx) {
  SMX_CHECK(tokens.defined() && tokens.rank() == 2, "[decoder] expected tokens [B, T], got {}",
            describe(tokens));
  const std::int64_t first = cache != nullptr ? cache->length : 0, end = first + tokens.size(1);
  SMX_CHECK(!ends_->position || end <= options_.max_length,
            "[decoder] expected at most {} learned positions, got {}", options_.max_length, end);

  ctx.token_ids = tokens;
  Variable x = ends_->token(tokens);
  if (ends_->position) x = ops::add(x, ops::slice(ends_->position->weight, 0, first, end));
  x = dropout(x, options_.dropout, ends_->dropout_key, ctx);

  std::size_t slot = 0;
  for (const auto& sublayer : sublayers_) {
    const Variable in = options_.place == NormPlace::pre ? sublayer->norm(x) : x;
    Variable y;
    if (sublayer->feed_forward)
      y = sublayer->feed_forward->forward(in, ctx);
    else if (cache != nullptr)
      y = sublayer->attention->step(in, cache->layers.at(slot++), first, ctx);
    else
      y = (*sublayer->attention)(in, ctx);
    // The residual stream keeps the dtype of the parameters, whatever the maps compute in.
    x = ops::add(x, dropout(to_dtype(y, x.dtype()), options_.dropout, sublayer->dropout_key, ctx));
    if (options_.place == NormPlace::post) x = sublayer->norm(x);
  }
  return ends_->norm ? (*ends_->norm)(x) : x;
}

Variable Decoder::logits(const Tensor& tokens, ForwardContext& ctx) {
  return ends_->head(hidden(tokens, nullptr, ctx), ctx);
}

Variable Decoder::loss(const Tensor& tokens, const Tensor& targets, ForwardContext& ctx) {
  const std::int64_t rows = tokens.numel();
  const Variable flat = ops::reshape(logits(tokens, ctx), {rows, options_.vocab});
  return ops::cross_entropy(flat, targets.view({rows}));
}

KeyValueCache Decoder::make_cache(std::int64_t batch, std::int64_t max_length) const {
  KeyValueCache cache;
  for (const auto& sublayer : sublayers_)
    if (sublayer->attention) cache.layers.push_back(sublayer->attention->make_cache(batch, max_length));
  return cache;
}

Tensor Decoder::step(const Tensor& tokens, KeyValueCache& cache, ForwardContext& ctx) {
  SMX_CHECK(Tape::current() == nullptr, "[decoder] step() is for inference: it records no gradient");
  const Variable x = hidden(tokens, &cache, ctx);
  const std::int64_t batch = tokens.size(0), count = tokens.size(1);
  SMX_CHECK(count >= 1, "[decoder] step() needs at least one new position");
  cache.length += count;
  const Variable last = ops::reshape(ops::slice(x, 1, count - 1, count), {batch, options_.dim});
  return ends_->head(last, ctx).value();
}

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
