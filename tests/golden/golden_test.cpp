// The models of make_golden.py built here: logits, losses, every gradient and ten Adam steps must agree with
// PyTorch.
#include <doctest/doctest.h>

#include "moe/options.hpp"
#include "nn/decoder.hpp"
#include "nn/optimizer.hpp"
#include "ops/binary.hpp"
#include "tests/golden/golden.hpp"

namespace simsmoe {

namespace {

struct Model {
  std::string name;
  nn::DecoderOptions decoder;
  moe::MoeOptions moe;
};

// The constants and the table MODELS of make_golden.py.
std::vector<Model> models() {
  Model dense{"dense", {}, {}};
  dense.decoder.vocab = 11;
  dense.decoder.dim = 8;
  dense.decoder.attention.heads = 2;
  dense.decoder.layers = 2;
  dense.decoder.pattern = "sf";
  dense.decoder.max_length = 6;
  dense.decoder.head_bias = true;
  dense.decoder.dense.hidden = 12;
  dense.decoder.dense.bias = true;
  dense.moe.experts = 4;
  dense.moe.k = 2;
  dense.moe.hidden = 12;
  dense.moe.bias = true;
  dense.moe.router_bias = true;
  dense.moe.balance_weight = 0.01;
  dense.moe.z_weight = 0.001;

  Model mixture = dense;
  mixture.name = "moe";
  mixture.decoder.pattern = "sg";

  Model variant = dense;
  variant.name = "variant";
  variant.decoder.pattern = "sfg";
  variant.decoder.place = nn::NormPlace::post;
  variant.decoder.norm = nn::NormKind::rms_norm;
  variant.decoder.positions = nn::Positions::rotary;
  variant.decoder.tie_embeddings = true;
  variant.decoder.dense.gated = true;
  variant.decoder.dense.activation = nn::Activation::silu;
  variant.moe.router_order = moe::SelectionOrder::softmax_topk;
  return {dense, mixture, variant};
}

void compare(const Model& model, DType dtype, double bound) {
  const TensorFile file = read_safetensors(SIMSMOE_GOLDEN_FOLDER "/" + model.name + ".safetensors");
  nn::ParameterStore store(0, dtype);
  store.preload(part(file, "initial/"));
  nn::Decoder decoder(nn::Scope(store, "decoder"), model.decoder, moe::feed_forward_factory(model.moe));
  REQUIRE(store.load_report().ignored.empty());
  REQUIRE(store.parameters().size() == part(file, "initial/").size());
  const auto optimizer = nn::make_optimizer(
      store, {.optimizer = nn::UpdateRule::adam, .beta1 = 0.9, .beta2 = 0.999, .weight_decay = 0.0});
  const Tensor &tokens = file.at("tokens"), &targets = file.at("targets");
  const auto totals = file.at("totals").to_vector<double>();
  const bool has_experts = model.decoder.pattern.find('g') != std::string::npos;

  nn::ForwardContext ctx;
  CHECK(relative_error(decoder.logits(tokens, ctx).value(), file.at("logits")) < bound);

  for (std::size_t step = 0; step < totals.size(); ++step) {
    CAPTURE(step);
    store.clear_grads();
    ctx = {};
    ctx.training = true;
    Tape tape;
    Variable total = decoder.loss(tokens, targets, ctx);
    if (step == 0) CHECK(relative_error(total.value().item(), file.at("loss/task").item()) < bound);
    const auto auxiliary = ctx.losses.by_name();
    REQUIRE(auxiliary.size() == (has_experts ? 2 : 0));
    if (has_experts) total = ops::add(total, ctx.losses.total());
    CHECK(relative_error(total.value().item(), totals[step]) < bound);
    tape.backward(total);
    if (step == 0) {
      for (const auto& [name, value] : auxiliary)
        CHECK(relative_error(value, file.at("loss/" + name).item()) < bound);
      for (const NamedTensor& gradient : part(file, "gradient/")) {
        CAPTURE(gradient.name);
        CHECK(relative_error(store.find(gradient.name)->variable.grad(), gradient.tensor) < bound);
      }
    }
    optimizer->step(store, 3e-3);
  }
  for (const NamedTensor& parameter : part(file, "final/")) {
    CAPTURE(parameter.name);
    CHECK(relative_error(store.find(parameter.name)->variable.value(), parameter.tensor) < bound);
  }
}

}  // namespace

TEST_CASE("f64 agrees with PyTorch to 1e-10") {
  for (const Model& model : models()) {
    CAPTURE(model.name);
    compare(model, DType::f64, 1e-10);
  }
}

TEST_CASE("f32 agrees with PyTorch in f64 to 1e-5") {
  for (const Model& model : models()) {
    CAPTURE(model.name);
    compare(model, DType::f32, 1e-5);
  }
}

}  // namespace simsmoe
