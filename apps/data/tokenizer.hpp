#pragma once
// Text to token ids and back. Two vocabularies: bytes (256 ids, any file) and characters (the distinct
// Unicode characters of the text, in order of code point; the text must be UTF-8).

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apps/data/text.hpp"

namespace simsmoe::app {

enum class TokenKind : unsigned char { byte, character };
constexpr auto enum_names(TokenKind) { return std::to_array<std::string_view>({"byte", "char"}); }

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual TokenKind kind() const = 0;
  virtual std::int64_t vocab_size() const = 0;
  // Throws UserError on text that the vocabulary cannot express, naming the character and its place.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  // Throws Error on an id out of range.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  // What stands before a text without a beginning: a line break, or the first id where there is none.
  virtual std::int32_t start() const = 0;
  // All that is needed to make it again: "byte" or "char:" and the characters. Kept in checkpoints.
  virtual std::string description() const = 0;
};

// `text` is the whole corpus (all three parts), from which a vocabulary of characters takes them.
std::unique_ptr<Tokenizer> make_tokenizer(TokenKind kind, std::string_view text);
// Throws UserError when the description is broken.
std::unique_ptr<Tokenizer> tokenizer_from_description(const std::string& description);

// A part of a corpus as token ids: for the byte vocabulary the text itself, else encoded once.
class TokenSequence {
 public:
  TokenSequence(const Tokenizer& tokenizer, const Text& text);
  TokenSequence(const Tokenizer& tokenizer, std::string_view text)
      : TokenSequence(tokenizer, Text(std::string(text))) {}
  TokenKind kind() const { return kind_; }
  std::int64_t size() const;  // in tokens
  std::int64_t bytes() const { return bytes_; }
  std::int64_t bytes(std::span<const std::int32_t> ids) const;       // that these stand for
  double bytes_per_token() const;                                    // 1 for the byte vocabulary
  void copy(std::int64_t begin, std::span<std::int32_t> out) const;  // out.size() ids from `begin`

 private:
  TokenKind kind_;
  Text text_;                      // of the byte vocabulary
  std::vector<std::int32_t> ids_;  // of another one
  std::vector<std::uint8_t> bytes_of_id_;
  std::int64_t bytes_;
};

}  // namespace simsmoe::app
