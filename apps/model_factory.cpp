// Nothing is copied from struct to struct: what is filled in here is no key of [model].

#include "apps/model_factory.hpp"

#include "nn/checkpoint.hpp"

namespace simsmoe::app {

nn::DecoderOptions decoder_options(const Config& config, std::int64_t vocab) {
  nn::DecoderOptions options = config.model;
  options.vocab = vocab;
  options.max_length = config.train.seq;
  options.steps = config.train.steps;
  return options;
}

Model::Model(const Config& config, std::int64_t vocab, Device device, std::vector<NamedTensor> loaded)
    : store(static_cast<std::uint64_t>(config.train.seed), DType::f32, device) {
  const bool from_checkpoint = !loaded.empty();
  if (from_checkpoint) store.preload(std::move(loaded));
  decoder = std::make_unique<nn::Decoder>(nn::Scope(store), decoder_options(config, vocab),
                                          moe::feed_forward_factory(config.moe));
  if (from_checkpoint) nn::check_all_claimed(store);
}

}  // namespace simsmoe::app
