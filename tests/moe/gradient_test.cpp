// Numeric gradient, f64, through every parameter: of the layer with the plain router in both orders and with
// a capacity, and of a tiny decoder; every other router is a matter of the contract suite
// (router_contract_test.cpp). The experts that were chosen are part of the check: a difference across a
// change of choice means nothing.
#include <doctest/doctest.h>

#include "nn/decoder.hpp"
#include "ops/binary.hpp"
#include "ops/layout.hpp"
#include "ops/reduce.hpp"
#include "tests/moe/fixture.hpp"
#include "tests/support/gradcheck.hpp"
#include "tests/support/op_checks.hpp"

namespace simsmoe::moe {

namespace {

// Notes which experts the router of a layer chooses, every time that the layer runs.
class ObservedLayer : public nn::FeedForward {
 public:
  ObservedLayer(std::unique_ptr<MoeLayer> layer, std::vector<std::int64_t>& chosen)
      : layer_(std::move(layer)), chosen_(chosen) {}

  Variable forward(const Variable& x, nn::ForwardContext& ctx) const override {
    nn::ForwardContext apart = ctx;
    const Variable tokens = ops::reshape(x.detach(), {x.shape().outer(-1), x.size(-1)});
    for (const std::int64_t expert :
         layer_->router().route(tokens, layer_->experts(), apart).experts.to_vector<std::int64_t>())
      chosen_.push_back(expert);
    return layer_->forward(x, ctx);
  }
  nn::Account account() const override { return layer_->account(); }

 private:
  std::unique_ptr<MoeLayer> layer_;
  std::vector<std::int64_t>& chosen_;
};

}  // namespace

TEST_CASE("numeric gradient of the layer through every parameter and its input") {
  const testing::ThreadCount one_thread(1);  // thousands of passes over a few numbers
  for (const SelectionOrder order : {SelectionOrder::topk_softmax, SelectionOrder::softmax_topk})
    for (const std::int64_t k : {1, 2, 4})
      for (const double capacity : {0.0, 0.7}) {
        CAPTURE(nn::name_of(order));
        CAPTURE(k);
        CAPTURE(capacity);
        MoeOptions options = small_options();
        options.router_order = order;
        options.k = k;
        options.capacity_factor = capacity;
        options.balance_weight = 0.3;
        options.z_weight = 0.2;
        SmallLayer small(options);
        const Variable x(draw({1, 9, SmallLayer::kDim}, "x", 1.5), true, "x");
        const Variable direction(draw({1, 9, SmallLayer::kDim}, "direction"));
        const auto loss = [&] {
          nn::ForwardContext ctx = training_context();
          const Variable task = ops::sum(ops::mul(small.layer.forward(x, ctx), direction));
          return ops::add(task, ctx.losses.total());
        };
        Variables inputs = small.parameters();
        inputs.push_back(x);
        testing::GradcheckOptions check;
        check.selection = [&] {
          nn::ForwardContext ctx = training_context();
          const Variable tokens(x.value().view({9, SmallLayer::kDim}));
          return small.layer.router()
              .route(tokens, small.layer.experts(), ctx)
              .experts.to_vector<std::int64_t>();
        };
        const auto report = testing::gradcheck(loss, inputs, check);
        CHECK_MESSAGE(report.passed, report.to_string());
      }
}

TEST_CASE("numeric gradient of a tiny MoE decoder through every parameter") {
  const testing::ThreadCount one_thread(1);
  for (const std::int64_t k : {1, 2}) {
    CAPTURE(k);
    MoeOptions options = small_options();
    options.k = k;
    options.z_weight = 0.001;
    std::vector<std::int64_t> chosen;
    const nn::FeedForwardFactory factory = [&](const nn::Scope& scope, const nn::Site& site) {
      return std::make_unique<ObservedLayer>(std::make_unique<MoeLayer>(scope, options, site), chosen);
    };
    nn::DecoderOptions model;
    model.vocab = 11;
    model.dim = 8;
    model.attention.heads = 2;
    model.layers = 2;
    model.max_length = 5;
    nn::ParameterStore store(5, DType::f64);
    nn::Decoder decoder(nn::Scope(store, "decoder"), model, factory);
    const Tensor tokens = Tensor::from(std::vector<std::int32_t>{1, 4, 0, 10, 3, 7, 7, 2, 5, 9}, {2, 5});
    const Tensor targets = Tensor::from(std::vector<std::int32_t>{4, 0, 10, 3, 6, 7, 2, 5, 9, 8}, {2, 5});

    Variables parameters;
    for (const nn::Parameter& parameter : store.parameters()) parameters.push_back(parameter.variable);
    testing::GradcheckOptions check;
    check.selection = [&] { return chosen; };
    const auto report = testing::gradcheck(
        [&] {
          chosen.clear();
          nn::ForwardContext ctx = training_context();
          const Variable task = decoder.loss(tokens, targets, ctx);
          CHECK(ctx.losses.terms().size() == 4);  // balance and z of two layers
          return ops::add(task, ctx.losses.total());
        },
        parameters, check);
    CHECK_MESSAGE(report.passed, report.to_string());
    CHECK(chosen.size() == static_cast<std::size_t>(2 * 10 * k));
    for (const Variable& parameter : parameters) {
      CAPTURE(parameter.name());
      REQUIRE(parameter.grad().defined());
      CHECK(all_finite(parameter.grad()));
    }
  }
}

}  // namespace simsmoe::moe
