#pragma once
// How well a model predicts a text: the mean negative log-likelihood over fixed windows.

#include <optional>
#include <string>

#include "apps/data/batches.hpp"
#include "engine/progress.hpp"
#include "nn/decoder.hpp"

namespace simsmoe::app {

struct Evaluation {
  double nats_per_token = 0.0;
  double bits_per_byte = 0.0;  // nats_per_token / ln 2 / bytes per predicted token
  // nats_per_token / ln 2, where a token is a character. Of multi-byte text it is not bits_per_byte.
  std::optional<double> bits_per_character = {};
  std::int64_t tokens = 0, tokens_of_text = 0;    // predicted, and how many there are
  std::int64_t windows = 0, windows_of_text = 0;  // of at most T tokens
  double experts_per_token = 0.0;  // mean over layers and tokens; 0: not counted, or there are none
  double dropped = 0.0;            // share of the choices that a capacity dropped; 0: not counted
  nn::Metrics metrics = nn::Metrics::of_no_pass();  // of the layers, where asked for
};

struct EvaluationOptions {
  DType compute_dtype = DType::f32;
  std::int64_t experts_per_token = 0;  // 0: as configured
  double capacity_factor = 0.0;        // 0: no token is dropped, whatever the training does
  bool compare_experts = false;        // on the first batch
  bool count_experts = false;          // how many a token gets, and how many choices were dropped
  Watch watch = {};                    // told of batches
};

// Without dropout; routers act as in inference. A pure function of its arguments.
Evaluation evaluate(const nn::Decoder& decoder, const EvaluationBatches& batches,
                    const EvaluationOptions& options);

// "1.5017 bits per byte", and where a token is a character ", 3.0029 bits per character".
std::string bits_text(const Evaluation& result);

// "all 1997615 tokens", or "320 of 15607 windows, 40960 of 1997615 tokens".
std::string extent_text(const Evaluation& result);

// How many of `all` batches the final validation reads: all where that takes no more than `share` of the time that the
// training took, else as many as that allows, but no fewer than every validation (`usual`; 0: all). A share of 1 means all.
std::int64_t final_batches(std::int64_t all, std::int64_t usual, double share, double training_seconds,
                           double seconds_per_batch);

double bits_per_byte(double nats_per_token, double bytes_per_token);

}  // namespace simsmoe::app
