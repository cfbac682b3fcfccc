// A batch that is computed in parts draws what the whole would have drawn, and no two parts draw the same.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

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

// All rows are alike and go to one expert: what tells them apart is the mask alone. A part of n tokens has up to
// E n rows, so the next part begins to draw behind so many.
TEST_CASE("parts: no row of the experts of one part has the mask of a row of another") {
  MoeOptions options = small_options();
  options.dropout = 0.5;
  options.hidden = 64;
  SmallLayer small(options);
  const moe::Experts& experts = small.layer.experts();
  const std::int64_t tokens = 6, rows = tokens * experts.count();
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(experts.count() + 1), rows);
  offsets[0] = 0;
  const Variable x(Tensor::full({rows, SmallLayer::kDim}, 0.5, DType::f64));
  std::set<std::vector<double>> seen;
  for (const std::int64_t first_token : {std::int64_t{0}, tokens}) {
    nn::ForwardContext ctx = part(first_token);
    const Tensor y = experts.forward(x, Tensor::from(offsets, {experts.count() + 1}), ctx).value();
    for (std::int64_t row = 0; row < rows; ++row)
      CHECK(seen.insert(y.slice0(row, row + 1).to_vector<double>()).second);
  }
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
