// Means of windows, weighted by what they count.

#include "apps/evaluation.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "ops/layout.hpp"
#include "ops/loss.hpp"

namespace simsmoe::app {

double bits_per_byte(double nats_per_token, double bytes_per_token) {
  return nats_per_token / std::numbers::ln2 / bytes_per_token;
}

std::string bits_text(const Evaluation& result) {
  const std::string text = fmt::format("{:.4f} bits per byte", result.bits_per_byte);
  return result.bits_per_character
             ? fmt::format("{}, {:.4f} bits per character", text, *result.bits_per_character)
             : text;
}

std::string extent_text(const Evaluation& result) {
  if (result.tokens == result.tokens_of_text) return fmt::format("all {} tokens", result.tokens);
  return fmt::format("{} of {} windows, {} of {} tokens", result.windows, result.windows_of_text,
                     result.tokens, result.tokens_of_text);
}

std::int64_t final_batches(std::int64_t all, std::int64_t usual, double share, double training_seconds,
                           double seconds_per_batch) {
  const double affordable = std::floor(share * training_seconds / seconds_per_batch);
  if (share >= 1.0 || usual == 0 || affordable >= static_cast<double>(all)) return all;
  const std::int64_t least = std::min(usual, all);
  return std::isfinite(affordable) ? std::max(least, static_cast<std::int64_t>(affordable)) : least;
}

Evaluation evaluate(const nn::Decoder& decoder, const EvaluationBatches& batches,
                    const EvaluationOptions& options) {
  Evaluation result;
  result.tokens_of_text = batches.text().size() - 1;
  result.windows_of_text = batches.windows_of_text();
  std::vector<Tensor> means;  // read together
  std::vector<double> counted;
  std::int64_t bytes = 0;
  for (std::int64_t i = 0; i < batches.size(); ++i) {
    const Batch batch = batches.at(i);
    const std::int64_t rows = batch.tokens.numel(), length = batch.tokens.size(1);
    nn::ForwardContext ctx;
    ctx.compute_dtype = options.compute_dtype;
    ctx.experts_per_token = options.experts_per_token;
    ctx.capacity_factor = options.capacity_factor;
    ctx.compare_experts = options.compare_experts && i == 0;
    ctx.collect_metrics = options.count_experts;
    const Variable all = decoder.logits(batch.tokens.to(decoder.device()), ctx);
    const Variable logits = ops::reshape(all, {rows, decoder.options().vocab});
    const Variable mean =
        ops::cross_entropy(logits, batch.targets.to(decoder.device()).view({rows}), kIgnoredTarget);
    means.push_back(mean.value());
    counted.push_back(static_cast<double>(batch.counted));
    result.tokens += batch.counted;
    bytes += batch.bytes;
    result.windows += (batch.counted + length - 1) / length;
    result.metrics.merge(ctx.metrics);
    if (options.watch) options.watch(i + 1, batches.size());
  }
  const std::vector<double> values = nn::read_scalars(means);
  const double nats = std::inner_product(values.begin(), values.end(), counted.begin(), 0.0);
  result.nats_per_token = nats / static_cast<double>(result.tokens);
  result.bits_per_byte =
      bits_per_byte(result.nats_per_token, static_cast<double>(bytes) / static_cast<double>(result.tokens));
  if (batches.text().kind() == TokenKind::character)
    result.bits_per_character = bits_per_byte(result.nats_per_token, 1.0);
  if (options.count_experts) {
    result.metrics.gather("", "k");
    result.metrics.gather("", "dropped");
    const std::map<std::string, double> metrics = result.metrics.read();
    if (const auto k = metrics.find("k"); k != metrics.end()) result.experts_per_token = k->second;
    if (const auto d = metrics.find("dropped"); d != metrics.end()) result.dropped = d->second;
  }
  return result;
}

}  // namespace simsmoe::app
