#include "ops/choices.hpp"

#include <doctest/doctest.h>

#include <algorithm>

// Integers have no gradient: each op is compared with the sentence that describes it.

using namespace simsmoe;

namespace {

using Ints = std::vector<std::int32_t>;
using Longs = std::vector<std::int64_t>;
using Doubles = std::vector<double>;

Tensor choices(const Ints& values, Shape shape) { return Tensor::from(values, shape); }

// Four tokens with two choices each, of four experts; token 2 lacks one, token 3 both.
const Ints kValues = {2, 0, 1, 2, -1, 3, -1, -1};
Tensor four_tokens() { return choices(kValues, {4, 2}); }

template <class F>
void check_refused(const std::string& message, const F& call) {
  CHECK_THROWS_WITH_AS(call(), doctest::Contains(message.c_str()), Error);
}

}  // namespace

TEST_CASE("choice_mask: 1 where a token chose an expert") {
  const Doubles expected = {1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0};
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::u8}) {
    const Tensor mask = ops::choice_mask(four_tokens(), 4, dtype);
    CHECK(mask.dtype() == dtype);
    CHECK(mask.to_vector<double>() == expected);
  }
  CHECK(ops::choice_mask(choices({}, {0, 2}), 3, DType::f32).shape() == Shape{0, 3});
  check_refused("[choice_mask] a choice of 4 is outside [-1, 4)", [] {
    ops::choice_mask(choices({4}, {1, 1}), 4, DType::f32);
  });
  check_refused("[choice_mask] expected a float dtype",
                [] { ops::choice_mask(four_tokens(), 4, DType::i32); });
  check_refused("[choice_mask] expected choices i32 [N, K]",
                [] { ops::choice_mask(Tensor::zeros({4}, DType::i32), 4, DType::f32); });
}

TEST_CASE("choice_counts: per group of tokens, of the first columns or of all") {
  CHECK(ops::choice_counts(four_tokens(), 4, 4, 0, DType::f64).to_vector<double>() == Doubles{1, 1, 2, 1});
  CHECK(ops::choice_counts(four_tokens(), 4, 4, 1, DType::f64).to_vector<double>() == Doubles{0, 1, 1, 0});
  CHECK(ops::choice_counts(four_tokens(), 4, 2, 0, DType::f32).to_vector<double>() ==
        Doubles{1, 1, 2, 0, 0, 0, 0, 1});
  // bf16 counts beyond 256, where adding 1 to it changes nothing.
  CHECK(ops::choice_counts(Tensor::full({512, 1}, 0, DType::i32), 1, 512, 0, DType::bf16).item() == 512.0);
  check_refused("[choice_counts] 4 tokens are no groups of 3",
                [] { ops::choice_counts(four_tokens(), 4, 3, 0, DType::f32); });
  check_refused("[choice_counts] expected 0 to 2 columns, got 3",
                [] { ops::choice_counts(four_tokens(), 4, 4, 3, DType::f32); });
}

TEST_CASE("limit_choices: an expert keeps its first choices in flat order") {
  const Tensor crowd = choices({0, 1, 0, 1, 0, 1, 1, -1}, {4, 2});
  CHECK(ops::limit_choices(crowd, 2, 2).to_vector<std::int32_t>() == Ints{0, 1, 0, 1, -1, -1, -1, -1});
  CHECK(ops::limit_choices(crowd, 2, 4).to_vector<std::int32_t>() == crowd.to_vector<std::int32_t>());
  CHECK(ops::limit_choices(crowd, 2, 0).to_vector<std::int32_t>() == Ints(8, -1));
  CHECK(crowd.to_vector<std::int32_t>()[4] == 0);  // a copy
  check_refused("[limit_choices] a choice of 1 is outside [-1, 1)", [&] { ops::limit_choices(crowd, 1, 2); });
}

TEST_CASE("keep_choices: those whose mask is set") {
  const Tensor mask = Tensor::from(std::vector<std::uint8_t>{1, 0, 0, 7, 1, 0, 1, 0}, {4, 2});
  CHECK(ops::keep_choices(four_tokens(), mask).to_vector<std::int32_t>() ==
        Ints{2, -1, -1, 2, -1, -1, -1, -1});
  check_refused("[keep_choices] expected a mask u8",
                [&] { ops::keep_choices(four_tokens(), four_tokens()); });
}

TEST_CASE("choices_of_tokens: from what experts took to what tokens have") {
  const Tensor taken = choices({3, 0, 0, 1}, {2, 2});  // expert 0 took 3 and 0, expert 1 took 0 and 1
  CHECK(ops::choices_of_tokens(taken, 4).to_vector<std::int32_t>() == Ints{0, 1, -1, 1, -1, -1, 0, -1});
  CHECK(ops::choices_of_tokens(choices({}, {2, 0}), 1).to_vector<std::int32_t>() == Ints{-1, -1});
  check_refused("[choices_of_tokens] token 3 is outside [0, 3)", [&] { ops::choices_of_tokens(taken, 3); });
}

TEST_CASE("rows_by_expert: rows of the outputs of all experts on all tokens") {
  CHECK(ops::rows_by_expert(four_tokens()).to_vector<std::int64_t>() == Longs{8, 0, 5, 9, -1, 14, -1, -1});
}

TEST_CASE("with_runner_up: the best that was not chosen stands beside the chosen one") {
  const Tensor best = choices({0, 2, 0, 2, 0, 2}, {3, 2});
  CHECK(ops::with_runner_up(choices({0, 2, 1}, {3, 1}), best).to_vector<std::int32_t>() ==
        Ints{0, 2, 2, 0, 1, 0});
  check_refused("[with_runner_up] expected choices i32 [N, 1]", [&] { ops::with_runner_up(best, best); });
}

TEST_CASE("pairs are numbered row after row of the strict upper triangle") {
  std::int64_t number = 0;
  for (std::int64_t a = 0; a < 5; ++a)
    for (std::int64_t b = a + 1; b < 5; ++b) CHECK(ops::pair_number(a, b, 5) == number++);
  CHECK(ops::pair_count(5) == number);
}

TEST_CASE("count_pairs and tokens_of_pair agree, whatever the order of a token's choices") {
  const Tensor tokens = choices({0, 1, 3, 1, 0, 2, 2, -1, 0, 3, 2, 1, 1, 1, 0}, {5, 3});
  const Doubles met = ops::count_pairs(tokens, 4, DType::f64).to_vector<double>();
  for (std::int64_t a = 0; a < 4; ++a)
    for (std::int64_t b = a + 1; b < 4; ++b) {
      Longs expected;
      for (std::int64_t t = 0; t < 5; ++t) {
        const auto mine = tokens.slice0(t, t + 1).to_vector<std::int64_t>();
        if (std::ranges::count(mine, a) > 0 && std::ranges::count(mine, b) > 0) expected.push_back(t);
      }
      CHECK(ops::tokens_of_pair(tokens, a, b).to_vector<std::int64_t>() == expected);
      // The last token names one expert twice; a pair counts for each of the two.
      const double twice = a == 0 && b == 1 ? 1.0 : 0.0;
      CHECK(met[static_cast<std::size_t>(ops::pair_number(a, b, 4))] ==
            static_cast<double>(expected.size()) + twice);
    }
}

TEST_CASE(
    "tokens_of_pair: of too many those with the smallest draws, in order, also of a part of the batch") {
  const RandomKey key{3, 5};
  const Tensor all = Tensor::from(Ints(80, 1), {40, 2});
  for (std::int32_t& first : all.host<std::int32_t>())
    first = static_cast<std::int32_t>(&first - all.host<std::int32_t>().data()) % 2;
  const Longs sample = ops::tokens_of_pair(all, 0, 1, 6, key, 9).to_vector<std::int64_t>();
  Longs by_draw(40);
  for (std::size_t t = 0; t < 40; ++t) by_draw[t] = static_cast<std::int64_t>(t);
  std::ranges::stable_sort(
      by_draw, {}, [&](std::int64_t t) { return random_bits(key, 9, static_cast<std::uint64_t>(t)); });
  Longs expected(by_draw.begin(), by_draw.begin() + 6);
  std::ranges::sort(expected);
  CHECK(sample == expected);
  // The second half draws what the whole drew for it.
  Longs late;
  for (const std::int64_t t : by_draw)
    if (t >= 20 && late.size() < 6) late.push_back(t - 20);
  std::ranges::sort(late);
  CHECK(ops::tokens_of_pair(all.slice0(20, 40), 0, 1, 6, key, 9, 20).to_vector<std::int64_t>() == late);
}

TEST_CASE("rows_of_choices: the position of a token's copy, -1 where it has none") {
  const Tensor position = choices({3, 0, 1, -1, -1, 2, -1, -1}, {4, 2});  // token 1 found expert 2 full
  const Tensor tokens = Tensor::from(Longs{0, 1, 2}, {3});
  CHECK(ops::rows_of_choices(four_tokens(), position, tokens, 2).to_vector<std::int64_t>() ==
        Longs{3, -1, -1});
  CHECK(ops::rows_of_choices(four_tokens(), position, tokens, 3).to_vector<std::int64_t>() ==
        Longs{-1, -1, 2});
  check_refused("[rows_of_choices] token 7 is outside [0, 4)",
                [&] { ops::rows_of_choices(four_tokens(), position, Tensor::from(Longs{7}, {1}), 2); });
}
