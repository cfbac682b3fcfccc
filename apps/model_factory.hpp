#pragma once
// A model as a configuration describes it.

#include <cstdint>
#include <memory>
#include <vector>

#include "apps/config.hpp"
#include "nn/decoder.hpp"

namespace simsmoe::app {

// The options of the decoder with what the data and the training decide filled in.
nn::DecoderOptions decoder_options(const Config& config, std::int64_t vocab);

// A decoder and the store that owns its parameters.
struct Model {
  nn::ParameterStore store;
  std::unique_ptr<nn::Decoder> decoder;

  // `loaded`: the tensors of a checkpoint, all of which the model must want; empty: freshly drawn from
  // train.seed. Throws UserError when they do not fit.
  Model(const Config& config, std::int64_t vocab, Device device, std::vector<NamedTensor> loaded = {});
};

}  // namespace simsmoe::app
