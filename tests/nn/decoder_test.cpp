// The decoder as a whole: shapes, causality, generation, options, accounts, mixed precision.

#include "nn/decoder.hpp"

#include "ops/layout.hpp"
#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

using testing::max_difference;
using testing::tiny_options;
using testing::tokens;

namespace {

struct Variant {
  std::string name;
  std::function<void(DecoderOptions&)> apply;
};

const std::vector<Variant>& variants() {
  static const std::vector<Variant> all{
      {"pre-norm", [](DecoderOptions&) {}},
      {"post-norm", [](DecoderOptions& o) { o.place = NormPlace::post; }},
      {"rotary, tied", [](DecoderOptions& o) { o.positions = Positions::rotary, o.tie_embeddings = true; }},
      {"no positions, rms",
       [](DecoderOptions& o) { o.positions = Positions::none, o.norm = NormKind::rms_norm; }},
      {"sfsff", [](DecoderOptions& o) { o.pattern = "sfsff", o.layers = 1; }},
      {"grouped queries, window",
       [](DecoderOptions& o) { o.attention.key_heads = 1, o.attention.window = 2; }}};
  return all;
}

// Stands at 'g' with an account that shows in the sum.
class Identity : public FeedForward {
 public:
  Variable forward(const Variable& x, ForwardContext&) const override { return x; }
  Account account() const override {
    return {.parameters = 100, .active_parameters = 10, .flops_per_token = 7.0};
  }
};

}  // namespace

TEST_CASE("logits have their shape and the loss is their mean negative log-likelihood") {
  ParameterStore store(1, DType::f64);
  Decoder decoder(Scope(store) / "decoder", tiny_options(), {});
  ForwardContext ctx;
  const Tensor x = tokens(2, 5, 11), targets = tokens(2, 5, 11, 2);
  const Variable logits = decoder.logits(x, ctx);
  CHECK(logits.shape() == Shape{2, 5, 11});
  const std::vector<double> z = logits.value().to_vector<double>();
  const std::vector<std::int32_t> y = targets.to_vector<std::int32_t>();
  double expected = 0.0;
  for (std::size_t r = 0; r < y.size(); ++r) {
    double sum = 0.0;
    for (std::size_t v = 0; v < 11; ++v) sum += std::exp(z[r * 11 + v]);
    expected += (std::log(sum) - z[r * 11 + static_cast<std::size_t>(y[r])]) / 10.0;
  }
  CHECK(decoder.loss(x, targets, ctx).value().item() == doctest::Approx(expected).epsilon(1e-12));
}

TEST_CASE("a token changes no logits before it") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    DecoderOptions options = tiny_options();
    variant.apply(options);
    ParameterStore store(1, DType::f64);
    Decoder decoder(Scope(store), options, {});
    ForwardContext ctx;
    const Tensor x = tokens(1, 6, 11), changed = x.clone();
    std::int32_t& id = changed.data<std::int32_t>()[3];
    id = (id + 1) % 11;
    const Tensor a = decoder.logits(x, ctx).value().view({6, 11}),
                 b = decoder.logits(changed, ctx).value().view({6, 11});
    CHECK(max_difference(a.slice0(0, 3), b.slice0(0, 3)) == 0.0);
    for (std::int64_t t = 3; t < 6; ++t) CHECK(max_difference(a.slice0(t, t + 1), b.slice0(t, t + 1)) > 0.0);
  }
}

TEST_CASE("generation with a cache equals the forward pass over everything") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    DecoderOptions options = tiny_options();
    variant.apply(options);
    ParameterStore store(1, DType::f64);
    Decoder decoder(Scope(store), options, {});
    ForwardContext ctx;
    const Tensor x = tokens(2, 6, 11);
    const Tensor whole = decoder.logits(x, ctx).value();
    DecoderState state = decoder.begin(2, 6);
    std::int64_t position = 0;
    for (const std::int64_t count : {2, 1, 1, 2}) {
      std::vector<std::int32_t> ids;
      for (std::int64_t b = 0; b < 2; ++b)
        for (std::int64_t t = position; t < position + count; ++t)
          ids.push_back(x.data<std::int32_t>()[b * 6 + t]);
      const Decoder::Step step = decoder.step(Tensor::from(ids, {2, count}), state, ctx);
      state = step.state;
      position += count;
      CHECK(state.position == position);
      const Variable expected = ops::slice(Variable(whole), 1, position - 1, position);
      CHECK(max_difference(step.logits, expected.value().view({2, 11})) < 1e-11);
    }
  }
}

TEST_CASE("parameters have readable names, a repeated letter a number") {
  DecoderOptions options = tiny_options();
  options.pattern = "sfsg";
  ParameterStore store(1);
  const auto injected = [](const Scope& scope, const Site& site) -> std::unique_ptr<FeedForward> {
    CHECK(scope.path() ==
          (site.index == 0 ? "decoder.layers.0.feed_forward" : "decoder.layers.1.feed_forward"));
    return std::make_unique<Identity>();
  };
  const Decoder decoder(Scope(store) / "decoder", options, injected);
  for (const char* name :
       {"decoder.token.weight", "decoder.position.weight", "decoder.layers.0.attention.qkv.weight",
        "decoder.layers.0.attention_norm.weight", "decoder.layers.1.attention_2.out.weight",
        "decoder.layers.1.dense.up.bias", "decoder.layers.1.feed_forward_norm.bias", "decoder.norm.weight",
        "decoder.head.weight"})
    CHECK_MESSAGE(store.find(name) != nullptr, name);
  CHECK(store.find("decoder.layers.0.attention.qkv.bias") == nullptr);
  CHECK(store.find("decoder.head.bias") == nullptr);
}

TEST_CASE("a sublayer is told where in which model it stands") {
  DecoderOptions options = tiny_options();
  options.pattern = "sgfg";
  options.steps = 70;
  options.dropout = 0.25;
  options.init_std = 0.5;
  std::vector<Site> feed_forwards, attentions;
  const auto injected = [&](const Scope&, const Site& site) -> std::unique_ptr<FeedForward> {
    feed_forwards.push_back(site);
    return std::make_unique<Identity>();
  };
  const auto attention = [&](const Scope& scope, const Site& site) {
    attentions.push_back(site);
    return self_attention({.heads = 2})(scope, site);
  };
  ParameterStore store(1);
  const Decoder decoder(Scope(store), options, injected, attention);
  REQUIRE(feed_forwards.size() == 4);
  REQUIRE(attentions.size() == 2);
  for (const std::vector<Site>& sites : {feed_forwards, attentions})
    for (std::size_t i = 0; i < sites.size(); ++i) {
      CHECK(sites[i].index == static_cast<std::int64_t>(i));
      CHECK(sites[i].count == static_cast<std::int64_t>(sites.size()));
      CHECK(sites[i].dim == 8);
      CHECK(sites[i].vocab == 11);
      CHECK(sites[i].steps == 70);
      CHECK(sites[i].dropout == 0.25);
      CHECK(sites[i].init_std == 0.5);
      CHECK(sites[i].output_std == doctest::Approx(0.5 / std::sqrt(8.0)));
    }
}

TEST_CASE("the account adds up") {
  DecoderOptions options = tiny_options();
  options.pattern = "sg";
  ParameterStore store(1);
  const auto injected = [](const Scope&, const Site&) -> std::unique_ptr<FeedForward> {
    return std::make_unique<Identity>();
  };
  const Decoder decoder(Scope(store), options, injected);
  const Account account = decoder.account();
  CHECK(account.parameters == store.num_elements() + 2 * 100);
  CHECK(account.active_parameters == store.num_elements() + 2 * 10);
  CHECK(account.flops_per_token == 2 * (2.0 * 4 * 64 + 2.0 * 8 * 7 + 7.0) + 2.0 * 8 * 11);

  options.pattern = "sf";
  options.tie_embeddings = options.head_bias = true;
  ParameterStore tied(1);
  const Decoder tied_decoder(Scope(tied), options, {});
  CHECK(tied_decoder.account().parameters == tied.num_elements());
  CHECK(tied_decoder.account().active_parameters == tied.num_elements());
}

TEST_CASE("init_std starts maps and embeddings alike and shrinks what adds to the residual stream") {
  DecoderOptions options = tiny_options();
  options.dim = 64;
  options.dense.hidden = 64;
  options.init_std = 0.1;
  ParameterStore store(1);
  const Decoder decoder(Scope(store), options, {});
  const auto deviation = [&](const char* name) {
    const std::vector<double> w = store.find(name)->variable.value().to_vector<double>();
    double sum = 0.0;
    for (const double v : w) sum += v * v;
    return std::sqrt(sum / static_cast<double>(w.size()));
  };
  CHECK(deviation("token.weight") / 0.1 == doctest::Approx(1.0).epsilon(0.05));
  CHECK(deviation("layers.0.attention.qkv.weight") / 0.1 == doctest::Approx(1.0).epsilon(0.05));
  CHECK(deviation("layers.0.dense.up.weight") / 0.1 == doctest::Approx(1.0).epsilon(0.05));
  CHECK(deviation("layers.0.attention.out.weight") / 0.05 == doctest::Approx(1.0).epsilon(0.05));
  CHECK(deviation("layers.1.dense.down.weight") / 0.05 == doctest::Approx(1.0).epsilon(0.05));
  CHECK(deviation("layers.1.dense.down.bias") == 0.0);
}

TEST_CASE("bad options are refused by name") {
  const auto refused = [](const std::function<void(DecoderOptions&)>& change, const char* message) {
    DecoderOptions options = tiny_options();
    change(options);
    ParameterStore store(1);
    CHECK_THROWS_WITH_AS(Decoder(Scope(store), options, {}), doctest::Contains(message), UserError);
  };
  refused([](DecoderOptions& o) { o.attention.heads = 3; }, "model.heads = 3 does not divide model.dim = 8");
  refused([](DecoderOptions& o) { o.attention.heads = 0; },
          "model.heads: expected a whole number in [1, 4096], got 0");
  refused([](DecoderOptions& o) { o.layers = 0; },
          "model.layers: expected a whole number in [1, 1024], got 0");
  refused([](DecoderOptions& o) { o.vocab = -4; }, "vocabulary of at least 1, got -4");
  refused([](DecoderOptions& o) { o.max_length = 0; }, "at least 1 token, got 0");
  refused([](DecoderOptions& o) { o.pattern = ""; }, "model.pattern = ''");
  refused([](DecoderOptions& o) { o.pattern = "sx"; }, "model.pattern = 'sx'");
  refused([](DecoderOptions& o) { o.pattern = "sg"; }, "'g'");
  refused([](DecoderOptions& o) { o.dropout = 1.0; }, "model.dropout: expected a number in [0, 1), got 1");
  refused([](DecoderOptions& o) { o.init_std = -1.0; }, "model.init_std: expected a number >= 0, got -1");
  refused([](DecoderOptions& o) { o.dense.hidden = 0; },
          "model.hidden: expected a whole number in [1, 1048576]");
  refused([](DecoderOptions& o) { o.dim = 6, o.positions = Positions::rotary; },
          "model.positions = rotary needs");
}

TEST_CASE("misuse of a decoder explains itself") {
  ParameterStore store(1);
  Decoder decoder(Scope(store), tiny_options(), {});
  ForwardContext ctx;
  CHECK_THROWS_WITH_AS(decoder.logits(tokens(1, 7, 11), ctx),
                       doctest::Contains("at most 6 learned positions"), Error);
  CHECK_THROWS_AS(decoder.logits(tokens(1, 6, 11).view({6}), ctx), Error);
  CHECK_THROWS_AS(decoder.logits(Tensor::from(std::vector<std::int32_t>{11}, {1, 1}), ctx), Error);
  const DecoderState state = decoder.begin(1, 6);
  CHECK_THROWS_WITH_AS(decoder.step(tokens(1, 2, 11), {}, ctx),
                       doctest::Contains("expected a state of 2 attention sublayers, got 0"), Error);
  CHECK_THROWS_WITH_AS(decoder.step(tokens(2, 2, 11), state, ctx), doctest::Contains("expected cache [2, 2,"),
                       Error);
  CHECK_THROWS_WITH_AS(decoder.step(tokens(1, 0, 11), state, ctx),
                       doctest::Contains("at least one new position"), Error);
  const Tape tape;
  CHECK_THROWS_WITH_AS(decoder.step(tokens(1, 2, 11), state, ctx), doctest::Contains("is for inference"),
                       Error);
}

TEST_CASE("bf16 compute stays near f32, and every gradient arrives in f32") {
  ParameterStore store(1);
  DecoderOptions options = tiny_options();
  options.attention.bias = options.head_bias = true;
  Decoder decoder(Scope(store), options, {});
  const Tensor x = tokens(4, 6, 11), targets = tokens(4, 6, 11, 2);
  ForwardContext ctx;
  const double full = decoder.loss(x, targets, ctx).value().item();
  ctx.compute_dtype = DType::bf16;
  Tape tape;
  const Variable loss = decoder.loss(x, targets, ctx);
  CHECK(loss.dtype() == DType::f32);
  CHECK(loss.value().item() == doctest::Approx(full).epsilon(0.01));
  tape.backward(loss);
  for (const Parameter& parameter : store.parameters()) {
    CAPTURE(parameter.variable.name());
    REQUIRE(parameter.variable.grad().defined());
    CHECK(parameter.variable.grad().dtype() == DType::f32);
    CHECK(all_finite(parameter.variable.grad()));
    CHECK(max_difference(parameter.variable.grad(), Tensor::zeros_like(parameter.variable.value())) > 0.0);
  }
}

}  // namespace simsmoe::nn
