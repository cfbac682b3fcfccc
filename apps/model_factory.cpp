// Nothing is copied from struct to struct: what is filled in here is no key of [model].

#include "apps/model_factory.hpp"

#include <map>
#include <string>

#include "nn/checkpoint.hpp"

namespace simsmoe::app {

nn::DecoderOptions decoder_options(const Config& config, std::int64_t vocab) {
  nn::DecoderOptions options = config.model;
  options.vocab = vocab;
  options.max_length = config.train.seq;
  options.steps = config.train.steps;
  return options;
}

namespace {

// How near a checkpoint is that does not fit.
std::string fitting(const nn::ParameterStore& store, const std::map<std::string, Shape>& there) {
  std::size_t fit = 0;
  const auto count = [&](const std::string& name, const Shape& shape) {
    const auto found = there.find(name);
    fit += found != there.end() && found->second == shape ? 1 : 0;
  };
  for (const nn::Parameter& p : store.parameters()) count(p.variable.name(), p.variable.shape());
  for (const NamedTensor& buffer : store.buffers()) count(buffer.name, buffer.tensor.shape());
  return fmt::format(" ({} of the {} tensors of this model are there in their shape)", fit,
                     store.parameters().size() + store.buffers().size());
}

}  // namespace

Model::Model(const Config& config, std::int64_t vocab, Device device, std::vector<NamedTensor> loaded)
    : store(static_cast<std::uint64_t>(config.train.seed), DType::f32, device) {
  const auto build = [&] {
    decoder = std::make_unique<nn::Decoder>(nn::Scope(store), decoder_options(config, vocab),
                                            moe::feed_forward_factory(config.moe));
  };
  if (loaded.empty()) {
    build();
    return;
  }
  std::map<std::string, Shape> there;
  for (const NamedTensor& entry : loaded) there.emplace(entry.name, entry.tensor.shape());
  store.preload(std::move(loaded));
  try {
    build();
    nn::check_all_claimed(store);
  } catch (const UserError& error) {
    throw UserError(error.what() + fitting(Model(config, vocab, kCpu).store, there));
  }
}

}  // namespace simsmoe::app
