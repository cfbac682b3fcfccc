// The data side of the app: corpus, vocabularies, batches as pure functions, compressors.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "apps/data/batches.hpp"
#include "apps/data/compression.hpp"
#include "apps/data/corpus.hpp"
#include "apps/data/tokenizer.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

std::vector<std::int32_t> ids(const Tensor& t) { return t.to_vector<std::int32_t>(); }

}  // namespace

TEST_CASE("a corpus is cut by position into train, valid and test") {
  const TemporaryFolder folder;
  const std::string text(1000, 'x');
  const Corpus corpus = Corpus::open({.name = "file", .path = folder.file("a.txt", text)});
  CHECK(corpus.text(Split::train).size() == 900);
  CHECK(corpus.text(Split::valid).size() == 50);
  CHECK(corpus.text(Split::test).size() == 50);
  CHECK(corpus.text(Split::all).bytes() == text);
  CHECK(corpus.files() == std::vector<std::string>{folder / "a.txt"});
}

TEST_CASE("a corpus that cannot be read is the user's mistake, in one sentence") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(Corpus::open({.name = "nowhere"}), doctest::Contains("unknown data.name 'nowhere'"),
                       UserError);
  CHECK_THROWS_WITH_AS(Corpus::open({.name = "file", .path = "/no/such/file"}),
                       doctest::Contains("cannot read /no/such/file"), UserError);
  CHECK_THROWS_WITH_AS(Corpus::open({.name = "file", .path = folder.file("empty", "")}),
                       doctest::Contains("is empty"), UserError);
  CHECK_THROWS_WITH_AS(Corpus::open({.name = "file", .path = folder.path.string()}),
                       doctest::Contains("is a folder"), UserError);
  CHECK_THROWS_WITH_AS(Corpus::open({.name = "file", .path = "/dev/zero"}),
                       doctest::Contains("data.path: /dev/zero is not a file"), UserError);
  CHECK_THROWS_WITH_AS(Corpus::open({.name = "enwik8", .folder = folder.path.string()}),
                       doctest::Contains("enwik8.zip"), UserError);
  CHECK_THROWS_WITH_AS(Corpus::open({.name = "file"}), doctest::Contains("needs data.path"), UserError);
}

TEST_CASE("byte and character vocabularies go there and back") {
  const std::string text = "na\u00efve \u20ac\U0001F600 na";
  const auto bytes = make_tokenizer(TokenKind::byte, text);
  CHECK(bytes->vocab_size() == 256);
  CHECK(bytes->decode(bytes->encode(text)) == text);

  const auto chars = make_tokenizer(TokenKind::character, text);
  CHECK(chars->vocab_size() == 8);  // space a e n v, i with diaeresis, euro sign, emoji
  CHECK(chars->decode(chars->encode(text)) == text);
  CHECK(chars->encode(text).size() == 11);
  CHECK(bytes->start() == '\n');
  CHECK(chars->start() == 0);  // no line break in this text
  CHECK(make_tokenizer(TokenKind::character, "a\nb\t")->start() == 1);
  const auto again = tokenizer_from_description(chars->description());
  CHECK(again->encode(text) == chars->encode(text));
  CHECK_THROWS_WITH_AS(chars->encode("nab"), doctest::Contains("'b' at byte 2 is not in"), UserError);
  CHECK_THROWS_AS(tokenizer_from_description("char:"), UserError);
}

TEST_CASE("malformed UTF-8 is refused with its place") {
  for (const std::string bad :
       {"ab\x80", "ab\xc3", "ab\xc0\xaf", "ab\xed\xa0\x80", "ab\xf4\x90\x80\x80", "ab\xff"})
    CHECK_THROWS_WITH_AS(make_tokenizer(TokenKind::character, bad),
                         doctest::Contains("not valid UTF-8 at byte 2"), UserError);
}

TEST_CASE("a part cut inside a character loses only that character") {
  const std::string text = "a\u20acb\u20ac";  // 1 + 3 + 1 + 3 bytes
  const auto chars = make_tokenizer(TokenKind::character, text);
  const TokenSequence part(*chars, std::string_view(text).substr(2, 4));  // two tail bytes, b, one lead byte
  CHECK(part.size() == 1);
  CHECK(part.bytes() == 1);
  const TokenSequence whole(*chars, text);
  CHECK(whole.size() == 4);
  CHECK(whole.bytes_per_token() == doctest::Approx(2.0));
}

TEST_CASE("wherever a part is cut, it has the characters that lie in it whole") {
  const std::vector<std::string> characters = {"a",          "\u00e9", "\u20ac", "\U0001F600", "b",
                                               "\U0001F601", "\u20ad", "\u00ea", "\u00eb"};  // 1 to 4 bytes
  std::string text;
  std::vector<std::size_t> begins;  // of the characters; at last the end
  for (const std::string& character : characters) {
    begins.push_back(text.size());
    text += character;
  }
  begins.push_back(text.size());
  const auto chars = make_tokenizer(TokenKind::character, text);
  for (std::size_t begin = 0; begin <= text.size(); ++begin)
    for (std::size_t end = begin; end <= text.size(); ++end) {
      CAPTURE(begin);
      CAPTURE(end);
      const auto first = std::ranges::lower_bound(begins, begin),
                 behind = std::ranges::upper_bound(begins, end);
      const std::ptrdiff_t whole = std::max<std::ptrdiff_t>(behind - first - 1, 0);
      const TokenSequence part(*chars, std::string_view(text).substr(begin, end - begin));
      CHECK(part.size() == whole);
      CHECK(part.bytes() == (whole == 0 ? 0 : static_cast<std::int64_t>(*(behind - 1) - *first)));
    }
}

TEST_CASE("training batches: targets are the next tokens, and an epoch visits every window once") {
  std::string text(1003, ' ');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i % 251);
  const auto bytes = make_tokenizer(TokenKind::byte, text);
  const TokenSequence tokens(*bytes, text);
  const TrainingBatches batches(tokens, 3, 10, 7);
  const auto windows = static_cast<std::uint64_t>(batches.windows_per_epoch());
  CHECK(windows == 99);

  std::multiset<int> firsts;
  for (std::uint64_t index = 0; index < windows / 3; ++index) {
    const Batch batch = batches.at(index);
    CHECK(batch.counted == 30);
    const auto x = ids(batch.tokens), y = ids(batch.targets);
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(y[i] == (x[i] + 1) % 251);
    for (std::size_t row = 0; row < 3; ++row) firsts.insert(x[row * 10]);
  }
  // 99 windows at distance 10 from one phase: their first bytes are (phase + 10 w) mod 251, one for each w
  CHECK(firsts.size() == 99);
  std::multiset<int> expected;
  int found = -1;
  for (int candidate = 0; candidate < 10 && found < 0; ++candidate) {
    expected.clear();
    for (int w = 0; w < 99; ++w) expected.insert((candidate + 10 * w) % 251);
    if (expected == firsts) found = candidate;
  }
  CHECK(found >= 0);
}

TEST_CASE(
    "training batches: each epoch has a phase and an order of its own, and both take all their values") {
  std::string text(250, ' ');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i);  // a token is its place
  const auto bytes = make_tokenizer(TokenKind::byte, text);
  const TokenSequence tokens(*bytes, text);
  constexpr std::uint64_t kWindows = 49, kEpochs = 60;  // 5 tokens each, 4 are left over: phases 0 to 4
  const TrainingBatches batches(tokens, 1, 5, 3);
  REQUIRE(batches.windows_per_epoch() == kWindows);
  std::set<int> phases;
  std::set<std::vector<int>> orders;
  int ascents = 0;
  for (std::uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
    std::vector<int> order;
    for (std::uint64_t i = 0; i < kWindows; ++i)
      order.push_back(ids(batches.at(epoch * kWindows + i).tokens)[0]);
    phases.insert(order[0] % 5);
    for (int& start : order) start /= 5;
    for (std::size_t i = 1; i < order.size(); ++i) ascents += order[i] > order[i - 1] ? 1 : 0;
    orders.insert(order);
  }
  CHECK(phases == std::set<int>{0, 1, 2, 3, 4});
  CHECK(orders.size() == kEpochs);
  // Of a random permutation half of the neighbours ascend, with a variance of (n + 1) / 12.
  CHECK(std::abs(ascents - 24.0 * kEpochs) < 5.0 * std::sqrt(kEpochs * (kWindows + 1) / 12.0));
}

TEST_CASE("some batches of an evaluation are spread over the text") {
  const std::string text = [] {
    std::string all(161, ' ');
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(i);
    return all;
  }();
  const auto bytes = make_tokenizer(TokenKind::byte, text);
  const TokenSequence tokens(*bytes, text);
  const EvaluationBatches some(tokens, 2, 8, 4);  // of 10
  std::vector<std::int32_t> firsts;
  for (std::int64_t i = 0; i < some.size(); ++i) firsts.push_back(ids(some.at(i).tokens)[0]);
  CHECK(firsts == std::vector<std::int32_t>{0, 32, 80, 112});
}

TEST_CASE("training batches are pure functions of seed and index") {
  std::string text(5000, ' ');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>((i * i + i / 7) % 256);
  const auto bytes = make_tokenizer(TokenKind::byte, text);
  const TokenSequence tokens(*bytes, text);
  const TrainingBatches a(tokens, 4, 16, 1), b(tokens, 4, 16, 1), c(tokens, 4, 16, 2);
  CHECK(ids(a.at(1000).tokens) == ids(b.at(1000).tokens));
  CHECK(ids(a.at(0).tokens) != ids(a.at(1).tokens));
  CHECK(ids(a.at(0).tokens) != ids(c.at(0).tokens));
  CHECK_THROWS_WITH_AS(TrainingBatches(tokens, 1, 5000, 1),
                       doctest::Contains("train.seq = 5000 needs at least 5001"), UserError);
  CHECK_NOTHROW(TrainingBatches(tokens, 1, 4999, 1).at(3));
}

TEST_CASE("evaluation predicts every token but the first exactly once") {
  std::string text(131, ' ');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i);
  const auto bytes = make_tokenizer(TokenKind::byte, text);
  const TokenSequence tokens(*bytes, text);
  const EvaluationBatches batches(tokens, 4, 8);
  std::vector<int> seen;
  std::int64_t counted = 0;
  for (std::int64_t i = 0; i < batches.size(); ++i) {
    const Batch batch = batches.at(i);
    counted += batch.counted;
    for (const std::int32_t y : ids(batch.targets))
      if (y != kIgnoredTarget) seen.push_back(y);
  }
  CHECK(counted == 130);
  REQUIRE(seen.size() == 130);
  for (int i = 0; i < 130; ++i) CHECK(seen[static_cast<std::size_t>(i)] == i + 1);
  CHECK(EvaluationBatches(tokens, 4, 8, 2).size() == 2);
  CHECK_THROWS_AS(EvaluationBatches(TokenSequence(*bytes, "x"), 1, 8), UserError);
}

TEST_CASE("the compressors agree with what their commands make") {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += static_cast<char>('a' + (i * i / 3 + i / 11) % 7);
  const TemporaryFolder folder;
  const std::string path = folder.file("t", text);
  const std::string command = fmt::format("gzip -9 -c {0} > {0}.gz; xz -9e -c {0} > {0}.xz", path);
  REQUIRE(std::system(command.c_str()) == 0);
  const auto bits = [&](const char* ending) {
    return 8.0 * static_cast<double>(std::filesystem::file_size(path + ending)) /
           static_cast<double>(text.size());
  };
  CHECK(gzip_bits_per_byte(text) == doctest::Approx(bits(".gz")).epsilon(0.005));
  CHECK(xz_bits_per_byte(text) == doctest::Approx(bits(".xz")).epsilon(0.005));
}
