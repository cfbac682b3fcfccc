// Sampling from logits, and a loop of steps whose window moves on when it is full.

#include "apps/generation.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/philox.hpp"

namespace simsmoe::app {

void SamplingOptions::validate() const {
  if (!(std::isfinite(temperature) && temperature >= 0.0))
    throw UserError(fmt::format("--temperature: expected a number >= 0, got {}", temperature));
  if (top_k < 0) throw UserError(fmt::format("--top-k: expected a whole number >= 0, got {}", top_k));
  if (!(top_p > 0.0 && top_p <= 1.0))
    throw UserError(fmt::format("--top-p: expected a number in (0, 1], got {}", top_p));
}

std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options, std::uint64_t draw) {
  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto logit = [&](std::int32_t id) {
    const float value = logits[static_cast<std::size_t>(id)];
    return std::isnan(value) ? -INFINITY : value;
  };
  std::ranges::stable_sort(ids, [&](std::int32_t a, std::int32_t b) { return logit(a) > logit(b); });
  if (options.temperature == 0.0) return ids.front();
  if (options.top_k > 0 && options.top_k < static_cast<std::int64_t>(ids.size()))
    ids.resize(static_cast<std::size_t>(options.top_k));

  std::vector<double> weights;
  weights.reserve(ids.size());
  for (const std::int32_t id : ids)
    weights.push_back(std::exp((logit(id) - logit(ids.front())) / options.temperature));
  double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (options.top_p < 1.0) {
    double kept = 0.0;
    std::size_t count = 0;
    while (count < weights.size() && kept < options.top_p * total) kept += weights[count++];
    weights.resize(count);
    total = kept;
  }
  double left = total * random_uniform({options.seed, stream_of("generate")}, 0, draw);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    left -= weights[i];
    if (left < 0.0) return ids[i];
  }
  return ids[weights.size() - 1];
}

std::string generate(const nn::Decoder& decoder, const Tokenizer& tokenizer, std::string_view prompt,
                     std::int64_t count, const SamplingOptions& options, DType compute_dtype,
                     const std::function<void(std::string_view)>& emit) {
  options.validate();
  const std::int64_t length = decoder.options().max_length;
  const auto keep = static_cast<std::size_t>(std::max<std::int64_t>(1, length / 2));
  std::vector<std::int32_t> context = tokenizer.encode(prompt);
  if (context.empty()) context.push_back(tokenizer.start());
  if (static_cast<std::int64_t>(context.size()) > length)
    context.erase(context.begin(), context.end() - static_cast<std::ptrdiff_t>(keep));

  nn::ForwardContext ctx;
  ctx.compute_dtype = compute_dtype;
  ctx.experts_per_token = options.experts_per_token;
  nn::DecoderState state = decoder.begin(1, length);
  std::vector<std::int32_t> unseen = context;  // tokens that are not in the state yet
  std::string text;
  for (std::int64_t i = 0; i < count; ++i) {
    if (state.position + static_cast<std::int64_t>(unseen.size()) > length) {
      context.erase(context.begin(), context.end() - static_cast<std::ptrdiff_t>(keep));
      unseen = context;
      state = decoder.begin(1, length);
    }
    const auto tokens = static_cast<std::int64_t>(unseen.size());
    nn::Decoder::Step step = decoder.step(Tensor::from(unseen, {1, tokens}).to(decoder.device()), state, ctx);
    state = std::move(step.state);
    const std::int32_t token =
        sample_token(step.logits.to_vector<float>(), options, static_cast<std::uint64_t>(i));
    context.push_back(token);
    unseen = {token};
    const std::string piece = tokenizer.decode(unseen);
    text += piece;
    if (emit) emit(piece);
  }
  return text;
}

}  // namespace simsmoe::app
