// A batch that is computed in parts draws what the whole would have drawn, and no two parts draw the same.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "nn/decoder.hpp"
#include "ops/layout.hpp"
#include "tests/moe/fixture.hpp"

namespace simsmoe::moe {

namespace {

constexpr std::int64_t kTokens = 12, kFirst = 5;  // of which the first part has so many

MoeOptions options_of(const std::string& router, Variant variant) {
  MoeOptions options = small_options();
  options.router = router;
  options.variant = variant;
  options.k = router == "switch" ? 1 : 2;
  return options;
}

nn::ForwardContext part(std::int64_t first_token) {
  nn::ForwardContext ctx = training_context();
  ctx.draw = 3;
  ctx.first_token = first_token;
  return ctx;
}

// Whether a and b are `whole` one after the other, up to the rounding of products of other sizes.
bool are_parts(const Variable& a, const Variable& b, const Variable& whole) {
  const std::vector<double> parts = ops::concat({a, b}, 0).value().to_vector<double>();
  return std::ranges::equal(parts, whole.value().to_vector<double>(),
                            [](double p, double w) { return std::abs(p - w) < 1e-12; });
}

}  // namespace

TEST_CASE("parts: routers that draw per token draw by the number of the token in the whole batch") {
  for (const std::string router : {"noisy_topk", "switch", "gshard"})
    for (const Variant variant : {Variant::paper, Variant::reference}) {
      CAPTURE(router);
      SmallLayer small(options_of(router, variant));
      const Tensor x = draw({kTokens, SmallLayer::kDim}, "x");
      const auto route = [&](std::int64_t begin, std::int64_t end, std::int64_t first_token) {
        nn::ForwardContext ctx = part(first_token);
        return small.layer.router().route(Variable(x.slice0(begin, end)), small.layer.experts(), ctx);
      };
      const RouterOutput whole = route(0, kTokens, 0), a = route(0, kFirst, 0),
                         b = route(kFirst, kTokens, kFirst), wrong = route(kFirst, kTokens, 0);
      CHECK(are_parts(a.weights, b.weights, whole.weights));
      CHECK(ops::concat({Variable(a.experts), Variable(b.experts)}, 0).value().to_vector<int>() ==
            whole.experts.to_vector<int>());
      CHECK((!are_parts(a.weights, wrong.weights, whole.weights) ||  // or the number would not matter
             wrong.experts.to_vector<int>() != b.experts.to_vector<int>()));
    }
}

TEST_CASE("parts: the experts' dropout of two parts differs, though their tokens are the same") {
  MoeOptions options = small_options();
  options.dropout = 0.5;
  SmallLayer small(options);
  const Variable x(draw({1, 6, SmallLayer::kDim}, "x"));
  const auto output = [&](std::int64_t first_token) {
    nn::ForwardContext ctx = part(first_token);
    return small.layer.forward(x, ctx).value().to_vector<double>();
  };
  CHECK(output(0) == output(0));
  CHECK(output(0) != output(6));
}

TEST_CASE("parts: a decoder with dropout everywhere, in two parts") {
  nn::DecoderOptions model;
  model.vocab = 13;
  model.dim = 8;
  model.attention.heads = 2;
  model.layers = 2;
  model.pattern = "sf";
  model.max_length = 6;
  model.dropout = 0.3;
  nn::ParameterStore store(5, DType::f64);
  const nn::Decoder decoder(nn::Scope(store), model, {});
  std::vector<std::int32_t> ids(24);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 5 % 13);
  const Tensor tokens = Tensor::from(ids, {4, 6});
  const auto hidden = [&](std::int64_t begin, std::int64_t end, std::int64_t first_token) {
    nn::ForwardContext ctx = part(first_token);
    return decoder.hidden(tokens.slice0(begin, end), ctx);
  };
  const Variable whole = hidden(0, 4, 0);
  CHECK(are_parts(hidden(0, 1, 0), hidden(1, 4, 6), whole));
  CHECK_FALSE(are_parts(hidden(0, 1, 0), hidden(1, 4, 0), whole));
}

TEST_CASE("parts: similarity learning samples by the number of the token in the whole batch") {
  MoeOptions options = small_options();
  options.experts = 2;
  options.similarity.enabled = true;
  options.similarity.frequency = 0.0;
  options.similarity.threshold = -1.0;
  options.similarity.max_tokens = 6;
  SmallLayer small(options);
  const Variable x(draw({1, 40, SmallLayer::kDim}, "x"));
  const auto loss = [&](std::int64_t first_token) {
    nn::ForwardContext ctx = part(first_token);
    small.layer.forward(x, ctx);
    return ctx.losses.by_name().at("similarity");
  };
  CHECK(loss(0) == loss(0));
  CHECK(loss(0) != loss(40));
}

}  // namespace simsmoe::moe
