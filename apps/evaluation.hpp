#pragma once
// How well a model predicts a text: the mean negative log-likelihood over fixed windows.

#include "apps/data/batches.hpp"
#include "nn/decoder.hpp"

namespace simsmoe::app {

struct Evaluation {
  double nats_per_token = 0.0;
  double bits_per_byte = 0.0;      // nats_per_token / ln 2 / bytes per token
  std::int64_t tokens = 0;         // predicted
  double experts_per_token = 0.0;  // mean over layers and tokens; 0: not counted, or there are none
  nn::Metrics metrics = nn::Metrics::of_no_pass();  // of the layers, where asked for
};

struct EvaluationOptions {
  DType compute_dtype = DType::f32;
  std::int64_t experts_per_token = 0;  // 0: as configured
  bool compare_experts = false;        // on the first batch
  bool count_experts = false;          // what a router that chooses their number makes of it
};

// Without dropout; routers act as in inference. A pure function of its arguments.
Evaluation evaluate(const nn::Decoder& decoder, const EvaluationBatches& batches, double bytes_per_token,
                    const EvaluationOptions& options);

double bits_per_byte(double nats_per_token, double bytes_per_token);

}  // namespace simsmoe::app
