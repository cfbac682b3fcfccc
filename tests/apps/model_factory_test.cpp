// What data and training decide of a model, and what a checkpoint must have in common with it.

#include "apps/model_factory.hpp"

#include <doctest/doctest.h>

#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

std::vector<NamedTensor> tensors_of(const Model& model) {
  std::vector<NamedTensor> tensors = model.store.buffers();
  for (const nn::Parameter& parameter : model.store.parameters())
    tensors.push_back({parameter.variable.name(), parameter.variable.value()});
  return tensors;
}

}  // namespace

TEST_CASE("a decoder is told the vocabulary of the data and the lengths of the training") {
  Config config = tiny_config("text");
  config.train.seq = 24;
  config.train.steps = 17;
  const nn::DecoderOptions options = decoder_options(config, 31);
  CHECK(options.vocab == 31);
  CHECK(options.max_length == 24);
  CHECK(options.steps == 17);
  CHECK(options.dim == config.model.dim);
  CHECK(Model(config, 31, kCpu).store.find("position.weight")->variable.shape() == Shape{24, 16});
}

TEST_CASE("a model is drawn from the seed of the training, or is the one of a checkpoint") {
  Config config = tiny_config("text");
  const Model first(config, 31, kCpu), again(config, 31, kCpu);
  config.train.seed = 2;
  const Model drawn(config, 31, kCpu), loaded(config, 31, kCpu, tensors_of(first));
  CHECK(drawn.store.seed() == 2);
  const auto values = [](const Model& model) {
    return model.store.find("token.weight")->variable.value().to_vector<double>();
  };
  CHECK(values(again) == values(first));
  CHECK(values(drawn) != values(first));
  CHECK(values(loaded) == values(first));
  CHECK(loaded.store.load_report().initialised.empty());
}

TEST_CASE("weight decay is for weights: norms, biases and embeddings are spared") {
  Config config = tiny_config("text");
  config.model.pattern = "sfg";
  config.model.attention.bias = config.model.head_bias = config.model.dense.bias = config.moe.bias = true;
  for (const nn::NormKind norm : {nn::NormKind::layer_norm, nn::NormKind::rms_norm})
    for (const bool tied : {false, true}) {
      config.model.norm = norm;
      config.model.tie_embeddings = tied;
      const Model model(config, 31, kCpu);
      for (const nn::Parameter& parameter : model.store.parameters()) {
        const std::string& name = parameter.variable.name();
        CAPTURE(name);
        const bool spared = name.ends_with("bias") || name.find("norm") != std::string::npos ||
                            name == "token.weight" || name == "position.weight";
        CHECK(parameter.options.decay == !spared);
      }
    }
}

TEST_CASE("a checkpoint with a tensor too many, or one too few, is of another model") {
  const Config config = tiny_config("text");
  const Model model(config, 31, kCpu);
  std::vector<NamedTensor> tensors = tensors_of(model);
  tensors.push_back({"extra", Tensor::zeros({1}, DType::f32)});
  CHECK_THROWS_WITH_AS(Model(config, 31, kCpu, tensors), doctest::Contains("first 'extra'"), UserError);
  tensors.resize(tensors.size() - 2);
  CHECK_THROWS_WITH_AS(Model(config, 31, kCpu, tensors), doctest::Contains("it lacks tensor"), UserError);
}
