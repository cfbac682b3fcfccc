#pragma once
// Text from a model, token by token, with a cache of keys and values.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "apps/data/tokenizer.hpp"
#include "nn/decoder.hpp"

namespace simsmoe::app {

struct SamplingOptions {
  double temperature = 0.8;  // 0: the most likely token (the lowest id among equals)
  std::int64_t top_k = 0;    // only the k most likely tokens; 0: all
  double top_p = 1.0;        // only the fewest tokens whose probabilities reach top_p (Holtzman et al. 2020)
  std::uint64_t seed = 1;
  std::int64_t experts_per_token = 0;  // 0: as configured

  void validate() const;  // throws UserError naming the option
};

// Draws one token id; `draw` numbers the draws of a text. logits: [V]
std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options, std::uint64_t draw);

// Returns `count` tokens after the prompt, as text, and hands each piece to `emit` as soon as it is there.
// Behind an empty prompt the text begins as if after tokenizer.start(). When the context is full, its older
// half is forgotten.
std::string generate(const nn::Decoder& decoder, const Tokenizer& tokenizer, std::string_view prompt,
                     std::int64_t count, const SamplingOptions& options, DType compute_dtype,
                     const std::function<void(std::string_view)>& emit = {});

}  // namespace simsmoe::app
