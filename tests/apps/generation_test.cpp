// Drawing tokens from logits, and texts from a model.

#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "apps/generation.hpp"
#include "apps/model_factory.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

const std::vector<float> kLogits = {0.0f, 2.0f, 1.0f, 2.0f, -1.0f};

std::map<std::int32_t, int> histogram(const SamplingOptions& options, int draws) {
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sample_token(kLogits, options, static_cast<std::uint64_t>(i))];
  return counts;
}

}  // namespace

TEST_CASE("temperature 0 takes the most likely token, the lowest id among equals") {
  CHECK(sample_token(kLogits, {.temperature = 0.0}, 0) == 1);
  CHECK(sample_token(std::vector<float>{NAN, -1.0f}, {.temperature = 0.0}, 0) == 1);
}

TEST_CASE("tokens are drawn with their probabilities") {
  double sum = 0.0;
  for (const float logit : kLogits) sum += std::exp(logit / 0.7);
  const int draws = 20000;
  for (const auto& [token, count] : histogram({.temperature = 0.7}, draws)) {
    const double p = std::exp(kLogits[static_cast<std::size_t>(token)] / 0.7) / sum;
    CHECK(std::abs(count - p * draws) < 5.0 * std::sqrt(p * (1 - p) * draws));
  }
}

TEST_CASE("top-k and top-p keep the likeliest tokens") {
  CHECK(histogram({.temperature = 1.0, .top_k = 1}, 100).size() == 1);
  CHECK(histogram({.temperature = 1.0, .top_k = 3}, 1000).contains(2));
  CHECK(!histogram({.temperature = 1.0, .top_k = 3}, 1000).contains(0));
  CHECK(histogram({.temperature = 1.0, .top_k = 99}, 1000).size() == 5);
  // The two tokens of logit 2 have 0.78 of the probability.
  CHECK(histogram({.temperature = 1.0, .top_p = 0.7}, 1000).size() == 2);
  CHECK(histogram({.temperature = 1.0, .top_p = 0.8}, 1000).size() == 3);
  CHECK(histogram({.temperature = 1.0, .top_p = 1e-9}, 100).size() == 1);
  CHECK_THROWS_WITH_AS(SamplingOptions{.temperature = -1.0}.validate(), doctest::Contains("--temperature"),
                       UserError);
  CHECK_THROWS_WITH_AS(SamplingOptions{.top_p = 0.0}.validate(), doctest::Contains("--top-p"), UserError);
}

TEST_CASE("top-p keeps no more than it needs, and of what it keeps the proportions") {
  const std::vector<float> equal = {1.0f, 1.0f, 1.0f, 1.0f};
  std::map<std::int32_t, int> counts;
  for (std::uint64_t i = 0; i < 4000; ++i)
    ++counts[sample_token(equal, {.temperature = 1.0, .top_p = 0.5}, i)];
  REQUIRE(counts.size() == 2);
  CHECK(std::abs(counts[0] - 2000) < 5.0 * std::sqrt(4000 * 0.25));
}

TEST_CASE(
    "a drawn text is that of its draws, one for each token, and of the last half of a context that is full") {
  const Config config = tiny_config("");
  const Model model(config, 256, kCpu);
  const auto tokenizer = make_tokenizer(TokenKind::byte, "");
  const auto length = static_cast<std::size_t>(config.train.seq);
  const SamplingOptions options{.temperature = 1.0, .top_k = 20, .seed = 5};
  const auto cut = [&](std::string& context) {
    if (context.size() > length) context.erase(0, context.size() - length / 2);
  };
  for (const std::size_t size : {std::size_t{3}, length - 1, length, length + 1, 3 * length}) {
    CAPTURE(size);
    std::string prompt;
    while (prompt.size() < size) prompt += static_cast<char>('a' + prompt.size() % 26);
    std::string context = prompt, expected;
    cut(context);
    for (std::uint64_t i = 0; i < 40; ++i) {
      cut(context);
      const std::vector<std::int32_t> ids = tokenizer->encode(context);
      nn::ForwardContext ctx;
      const std::vector<float> logits =
          model.decoder->logits(Tensor::from(ids, {1, static_cast<std::int64_t>(ids.size())}), ctx)
              .value()
              .to_vector<float>();
      const std::int32_t next = sample_token(std::span(logits).last(256), options, i);
      context += tokenizer->decode(std::span(&next, 1));
      expected += context.back();
    }
    CHECK(generate(*model.decoder, *tokenizer, prompt, 40, options, DType::f32) == expected);
  }
}

TEST_CASE("a text does not depend on the cache, may outgrow the context, and is streamed") {
  const Config config = tiny_config("");
  const Model model(config, 256, kCpu);
  const auto tokenizer = make_tokenizer(TokenKind::byte, "");
  const SamplingOptions greedy{.temperature = 0.0};
  const std::string prompt = "hello";
  const std::int64_t within = config.train.seq - static_cast<std::int64_t>(prompt.size());

  std::string expected;
  for (std::int64_t i = 0; i < within; ++i) {
    const std::vector<std::int32_t> ids = tokenizer->encode(prompt + expected);
    const auto length = static_cast<std::int64_t>(ids.size());
    nn::ForwardContext ctx;
    const std::vector<float> logits =
        model.decoder->logits(Tensor::from(ids, {1, length}), ctx).value().to_vector<float>();
    const std::int32_t next = sample_token(std::span(logits).last(256), greedy, 0);
    expected += tokenizer->decode(std::span(&next, 1));
  }
  CHECK(generate(*model.decoder, *tokenizer, prompt, within, greedy, DType::f32) == expected);

  std::string streamed;
  const std::string text = generate(*model.decoder, *tokenizer, prompt, 100, {.seed = 3}, DType::f32,
                                    [&](std::string_view piece) { streamed += piece; });
  CHECK(text.size() == 100);
  CHECK(streamed == text);
  CHECK(generate(*model.decoder, *tokenizer, prompt, 100, {.seed = 3}, DType::f32) == text);
  CHECK(generate(*model.decoder, *tokenizer, prompt, 100, {.seed = 4}, DType::f32) != text);
  CHECK(generate(*model.decoder, *tokenizer, "", 3, greedy, DType::f32).size() == 3);
  CHECK(generate(*model.decoder, *tokenizer, std::string(100, 'x'), 3, greedy, DType::f32).size() == 3);
}
