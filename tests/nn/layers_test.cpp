// Numbers of the layers against plain formulas, mixed precision, dropout, feed-forwards, accounts.

#include "nn/layers.hpp"

#include "nn/feed_forward.hpp"
#include "ops/binary.hpp"
#include "ops/reduce.hpp"
#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

using testing::max_difference;
using testing::normal;

TEST_CASE("linear multiplies by the transposed weight and adds the bias") {
  ParameterStore store(1, DType::f64);
  const Linear linear(Scope(store) / "l", 3, 2);
  linear.weight.set_value(Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 6}, {2, 3}));
  linear.bias.set_value(Tensor::from(std::vector<double>{10, 20}, {2}));
  const Variable x(Tensor::from(std::vector<double>{1, 0, -1}, {1, 3}));
  CHECK(linear(x, {}).value().to_vector<double>() == std::vector<double>{8, 18});
  CHECK(store.find("l.weight")->options.decay);
  CHECK_FALSE(store.find("l.bias")->options.decay);
  CHECK(linear.account().parameters == 8);
  CHECK(linear.account().flops_per_token == 12.0);
}

TEST_CASE("linear starts by the convention that its options name") {
  ParameterStore store(1);
  const Scope scope(store);
  const Linear uniform(scope / "u", 16, 50), gaussian(scope / "n", 16, 50, {.init_std = 0.02});
  const Linear frozen(scope / "f", 16, 50, {.bias = false, .trainable = false});
  for (const double w : uniform.bias.value().to_vector<double>()) CHECK(std::abs(w) <= 0.25);
  CHECK(max_difference(uniform.bias.value(), Tensor::zeros({50}, DType::f32)) > 0.1);
  CHECK(max_difference(gaussian.bias.value(), Tensor::zeros({50}, DType::f32)) == 0.0);
  CHECK_FALSE(frozen.bias.defined());
  CHECK_FALSE(frozen.weight.requires_grad());
}

TEST_CASE("embedding reads rows") {
  ParameterStore store(1);
  const Embedding embedding(Scope(store) / "token", 5, 3, 1.0);
  const Tensor ids = Tensor::from(std::vector<std::int32_t>{4, 0, 4, 2}, {2, 2});
  const Tensor y = embedding(ids).value();
  CHECK(y.shape() == Shape{2, 2, 3});
  const std::vector<double> table = embedding.weight.value().to_vector<double>(),
                            rows = y.to_vector<double>();
  for (std::size_t c = 0; c < 3; ++c) {
    CHECK(rows[c] == table[4 * 3 + c]);
    CHECK(rows[9 + c] == table[2 * 3 + c]);
  }
}

TEST_CASE("norms normalise and keep their parameters' dtype") {
  ParameterStore store(1, DType::f64);
  const Norm layer_norm(Scope(store) / "a", 4, NormKind::layer_norm),
      rms(Scope(store) / "b", 4, NormKind::rms_norm);
  const Tensor x = Tensor::from(std::vector<double>{1, 2, 3, 4}, {1, 4});
  const std::vector<double> y = layer_norm(Variable(x)).value().to_vector<double>();
  const double deviation = std::sqrt(1.25 + 1e-5);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(y[i] == doctest::Approx((static_cast<double>(i) - 1.5) / deviation).epsilon(1e-12));
  const std::vector<double> z = rms(Variable(x)).value().to_vector<double>();
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(z[i] == doctest::Approx(static_cast<double>(i + 1) / std::sqrt(7.5 + 1e-6)).epsilon(1e-12));
  CHECK(layer_norm(Variable(x.to(DType::bf16))).dtype() == DType::f64);
  CHECK(layer_norm.account().parameters == 8);
  CHECK(rms.account().parameters == 4);
}

TEST_CASE("dropout acts while training only, and is a function of key and draw") {
  const Variable x(Tensor::full({40, 50}, 1.0, DType::f32));
  const RandomKey key{1, stream_of("dropout")};
  ForwardContext ctx;
  CHECK(dropout(x, 0.5, key, ctx).same_as(x));
  ctx.training = true;
  CHECK(dropout(x, 0.0, key, ctx).same_as(x));
  const Tensor first = dropout(x, 0.25, key, ctx).value();
  CHECK(testing::same_bits(first, dropout(x, 0.25, key, ctx).value()));
  ctx.draw = 1;
  CHECK_FALSE(testing::same_bits(first, dropout(x, 0.25, key, ctx).value()));
  double kept = 0.0;
  for (const double v : first.to_vector<double>()) {
    CHECK((v == 0.0 || std::abs(v - 1.0 / 0.75) < 1e-6));
    kept += v != 0.0 ? 1.0 : 0.0;
  }
  CHECK(kept / 2000.0 == doctest::Approx(0.75).epsilon(0.06));
}

TEST_CASE("a map computes in the context's dtype, an f64 model in f64") {
  ParameterStore single(1), twice(1, DType::f64);
  const Linear a(Scope(single) / "l", 8, 8), b(Scope(twice) / "l", 8, 8);
  ForwardContext ctx;
  ctx.compute_dtype = DType::bf16;
  const Variable x(normal({4, 8}, "x", DType::f32), true);
  const Variable reference = b(Variable(normal({4, 8}, "x")), ctx);
  CHECK(reference.dtype() == DType::f64);
  Tape tape;
  const Variable y = a(x, ctx);
  CHECK(y.dtype() == DType::bf16);
  CHECK(max_difference(y.value(), reference.value()) < 0.02);
  tape.backward(y, Tensor::full(y.shape(), 1.0, DType::bf16));
  CHECK(a.weight.grad().dtype() == DType::f32);  // arrives in the parameter's own dtype
  CHECK(x.grad().dtype() == DType::f32);
  CHECK(max_difference(a.bias.grad(), Tensor::full({8}, 4.0, DType::f32)) == 0.0);
}

TEST_CASE("activations are the functions of their names") {
  CHECK(name_of(Activation::gelu_tanh) == "gelu_tanh");
  const Variable x(Tensor::from(std::vector<double>{-1.0, 1.0}, {2}));
  CHECK(activate(Activation::relu, x).value().to_vector<double>() == std::vector<double>{0.0, 1.0});
  CHECK(activate(Activation::silu, x).value().to_vector<double>()[1] ==
        doctest::Approx(1.0 / (1.0 + std::exp(-1.0))).epsilon(1e-12));
  CHECK(activate(Activation::gelu, x).value().to_vector<double>()[1] ==
        doctest::Approx(0.5 * (1.0 + std::erf(std::sqrt(0.5)))).epsilon(1e-12));
}

TEST_CASE("dense feed-forwards, plain and gated, are their formulas") {
  for (const bool gated : {false, true}) {
    ParameterStore store(1, DType::f64);
    const Scope scope = Scope(store) / "ff";
    const auto dense = dense_feed_forward(
        {.hidden = 6, .activation = Activation::silu, .gated = gated, .bias = true})(scope, {.dim = 4});
    const Variable x(normal({2, 3, 4}, "x"));
    ForwardContext ctx;
    const auto map = [&](const std::string& name, const Variable& in) {
      return Linear(store.find("ff." + name + ".weight")->variable,
                    store.find("ff." + name + ".bias")->variable)(in, ctx);
    };
    const Variable up = map("up", x);
    const Variable inner =
        gated ? ops::mul(activate(Activation::silu, map("gate", x)), up) : activate(Activation::silu, up);
    CHECK(max_difference(dense->forward(x, ctx).value(), map("down", inner).value()) == 0.0);
    CHECK(dense->account().parameters == store.num_elements());
    CHECK(dense->account().flops_per_token == 2.0 * 4 * 6 * (gated ? 3 : 2));
  }
  CHECK_THROWS_AS(dense_feed_forward({.hidden = 0}), UserError);
}

}  // namespace simsmoe::nn
