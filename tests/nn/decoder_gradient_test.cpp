// The gradient through every parameter of a tiny decoder, in f64, against differences of the loss.

#include "tests/nn/helpers.hpp"
#include "tests/support/gradcheck.hpp"

namespace simsmoe::nn {

namespace {

void check_gradients(const DecoderOptions& options, const std::string& name) {
  CAPTURE(name);
  ParameterStore store(3, DType::f64);
  Decoder decoder(Scope(store) / "decoder", options, {});
  const Tensor x = testing::tokens(2, 5, options.vocab), targets = testing::tokens(2, 5, options.vocab, 2);
  std::vector<Variable> parameters;
  for (const Parameter& parameter : store.parameters()) parameters.push_back(parameter.variable);
  const auto report = simsmoe::testing::gradcheck(
      [&] {
        ForwardContext ctx;
        ctx.training = true;
        ctx.draw = 17;
        return decoder.loss(x, targets, ctx);
      },
      parameters, {.samples_per_tensor = 1000});  // more than the largest has: every element
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(report.elements > 0);
}

DecoderOptions base() {
  DecoderOptions options = testing::tiny_options();
  options.vocab = 7;
  options.max_length = 5;  // as long as the tokens: every position has a gradient
  options.dense.hidden = 6;
  options.attention.bias = options.head_bias = true;
  return options;
}

}  // namespace

TEST_CASE("decoder gradients: pre-norm, layer norm, learned positions, untied") {
  check_gradients(base(), "base");
}

TEST_CASE("decoder gradients: post-norm") {
  DecoderOptions options = base();
  options.place = NormPlace::post;
  check_gradients(options, "post");
  options.norm = NormKind::rms_norm;
  check_gradients(options, "post, rms");
}

TEST_CASE("decoder gradients: rms norm, rotary, gated, tied") {
  DecoderOptions options = base();
  options.norm = NormKind::rms_norm;
  options.positions = Positions::rotary;
  options.tie_embeddings = true;
  options.init_std = 0.3;
  options.dense.activation = Activation::silu;
  options.dense.gated = true;
  check_gradients(options, "gated");
}

TEST_CASE("decoder gradients: no positions, tanh gelu, two dense sublayers in a layer") {
  DecoderOptions options = base();
  options.positions = Positions::none;
  options.pattern = "sff";
  options.layers = 1;
  options.dense.activation = Activation::gelu_tanh;
  check_gradients(options, "sff");
}

TEST_CASE("decoder gradients: grouped queries in a window") {
  DecoderOptions options = base();
  options.dim = 12;
  options.attention = {.heads = 6, .key_heads = 3, .window = 2, .bias = true};
  options.positions = Positions::rotary;
  check_gradients(options, "grouped, window");
}

TEST_CASE("decoder gradients: dropout of a fixed draw") {
  DecoderOptions options = base();
  options.dropout = 0.2;
  check_gradients(options, "dropout");
}

}  // namespace simsmoe::nn
