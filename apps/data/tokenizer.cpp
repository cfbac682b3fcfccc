#include "apps/data/tokenizer.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>

#include "engine/check.hpp"
#include "engine/utf8.hpp"

namespace simsmoe::app {

namespace {

constexpr std::string_view kCharPrefix = "char:";

class ByteTokenizer final : public Tokenizer {
 public:
  TokenKind kind() const override { return TokenKind::byte; }
  std::int64_t vocab_size() const override { return 256; }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> ids(text.size());
    std::ranges::transform(text, ids.begin(), [](char c) { return static_cast<unsigned char>(c); });
    return ids;
  }

  std::string decode(std::span<const std::int32_t> ids) const override {
    std::string text;
    text.reserve(ids.size());
    for (const std::int32_t id : ids) {
      SMX_CHECK(id >= 0 && id < 256, "[decode] {} is no byte", id);
      text.push_back(static_cast<char>(id));
    }
    return text;
  }

  std::int32_t start() const override { return '\n'; }

  std::string description() const override { return "byte"; }
};

// f(character) for each UTF-8 character of the text.
template <class F>
void for_each_character(std::string_view text, const F& f) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text.substr(i, 4));
    if (length == 0)
      throw UserError(
          fmt::format("the text is not valid UTF-8 at byte {} (0x{:02x}): use data.vocab = \"byte\"", i,
                      static_cast<unsigned char>(text[i])));
    f(text.substr(i, length), i);
    i += length;
  }
}

class CharTokenizer final : public Tokenizer {
 public:
  explicit CharTokenizer(std::string_view text) {
    // Bytewise order of UTF-8 is the order of code points.
    std::set<std::string, std::less<>> distinct;
    for_each_character(text, [&](std::string_view c, std::size_t) {
      if (!distinct.contains(c)) distinct.emplace(c);
    });
    characters_.assign(distinct.begin(), distinct.end());
    for (std::size_t i = 0; i < characters_.size(); ++i)
      ids_.emplace(characters_[i], static_cast<std::int32_t>(i));
  }

  TokenKind kind() const override { return TokenKind::character; }
  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(characters_.size()); }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> ids;
    ids.reserve(text.size());
    for_each_character(text, [&](std::string_view c, std::size_t at) {
      const auto found = ids_.find(c);
      if (found == ids_.end())
        throw UserError(fmt::format("the character '{}' at byte {} is not in the model's vocabulary", c, at));
      ids.push_back(found->second);
    });
    return ids;
  }

  std::string decode(std::span<const std::int32_t> ids) const override {
    std::string text;
    for (const std::int32_t id : ids) {
      SMX_CHECK(id >= 0 && id < vocab_size(), "[decode] id {} is outside of a vocabulary of {}", id,
                vocab_size());
      text += characters_[static_cast<std::size_t>(id)];
    }
    return text;
  }

  std::int32_t start() const override {
    const auto found = ids_.find("\n");
    return found == ids_.end() ? 0 : found->second;
  }

  std::string description() const override {
    return std::accumulate(characters_.begin(), characters_.end(), std::string(kCharPrefix));
  }

 private:
  std::vector<std::string> characters_;
  std::map<std::string, std::int32_t, std::less<>> ids_;
};

// A part that was cut by position may begin or end inside a character: those up to three bytes are left out.
std::string_view whole_characters(std::string_view text) {
  for (int i = 0; i < 3 && !text.empty() && (static_cast<unsigned char>(text.front()) & 0xC0u) == 0x80u; ++i)
    text.remove_prefix(1);
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto c = static_cast<unsigned char>(text[text.size() - back]);
    if (c >= 0xC0) {  // the last lead byte: cut there when its character is incomplete
      const std::size_t wanted = c >= 0xF0 ? 4 : (c >= 0xE0 ? 3 : 2);
      if (wanted > back) text.remove_suffix(back);
      break;
    }
    if (c < 0x80) break;
  }
  return text;
}

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(TokenKind kind, std::string_view text) {
  if (kind == TokenKind::byte) return std::make_unique<ByteTokenizer>();
  return std::make_unique<CharTokenizer>(text);
}

std::unique_ptr<Tokenizer> tokenizer_from_description(const std::string& description) {
  if (description == "byte") return std::make_unique<ByteTokenizer>();
  if (description.starts_with(kCharPrefix) && description.size() > kCharPrefix.size())
    return std::make_unique<CharTokenizer>(std::string_view(description).substr(kCharPrefix.size()));
  throw UserError("the checkpoint's vocabulary is damaged or of an unknown kind");
}

TokenSequence::TokenSequence(const Tokenizer& tokenizer, const Text& text)
    : kind_(tokenizer.kind()), bytes_(static_cast<std::int64_t>(text.size())) {
  if (kind_ == TokenKind::byte) {
    text_ = text;
    return;
  }
  const std::string bytes = text.bytes();
  const std::string_view whole = whole_characters(bytes);
  ids_ = tokenizer.encode(whole);
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    bytes_of_id_.push_back(static_cast<std::uint8_t>(tokenizer.decode({&id, 1}).size()));
  bytes_ = static_cast<std::int64_t>(whole.size());
}

std::int64_t TokenSequence::size() const {
  return kind_ == TokenKind::byte ? bytes_ : static_cast<std::int64_t>(ids_.size());
}

std::int64_t TokenSequence::bytes(std::span<const std::int32_t> ids) const {
  if (kind_ == TokenKind::byte) return std::ssize(ids);
  std::int64_t sum = 0;
  for (const std::int32_t id : ids) sum += bytes_of_id_.at(static_cast<std::size_t>(id));
  return sum;
}

double TokenSequence::bytes_per_token() const {
  return size() == 0 ? 1.0 : static_cast<double>(bytes()) / static_cast<double>(size());
}

void TokenSequence::copy(std::int64_t begin, std::span<std::int32_t> out) const {
  const auto count = static_cast<std::int64_t>(out.size());
  SMX_CHECK(begin >= 0 && begin + count <= size(), "[tokens] [{}, {}) of {}", begin, begin + count, size());
  if (kind_ == TokenKind::byte) {
    const std::string bytes = text_.bytes(static_cast<std::size_t>(begin), out.size());
    std::ranges::transform(bytes, out.begin(), [](char c) { return static_cast<unsigned char>(c); });
  } else {
    std::copy_n(ids_.begin() + begin, count, out.begin());
  }
}

}  // namespace simsmoe::app
