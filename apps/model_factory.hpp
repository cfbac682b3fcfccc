#pragma once
// From configuration to model: the only place that knows both. nn and moe see option structs, never keys.

#include <cstdint>
#include <memory>
#include <vector>

#include "apps/config.hpp"
#include "moe/options.hpp"
#include "nn/decoder.hpp"
#include "nn/optimizer.hpp"
#include "nn/schedule.hpp"

namespace simsmoe::app {

nn::DecoderOptions decoder_options(const Config& config, std::int64_t vocab);
moe::MoeOptions moe_options(const Config& config, std::int64_t vocab);
nn::OptimizerOptions optimizer_options(const TrainConfig& config);
nn::Schedule make_schedule(const TrainConfig& config);
DType compute_dtype(const TrainConfig& config);

// A decoder and the store that owns its parameters.
struct Model {
  nn::ParameterStore store;
  std::unique_ptr<nn::Decoder> decoder;

  // `loaded`: the tensors of a checkpoint, all of which the model must want; empty: freshly drawn from
  // train.seed. Throws UserError when they do not fit.
  Model(const Config& config, std::int64_t vocab, Device device, std::vector<NamedTensor> loaded = {});
};

}  // namespace simsmoe::app
