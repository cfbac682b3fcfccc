// Where the text of a configuration lies, and its tokens.

#include "apps/dataset.hpp"

#include <new>

#include "engine/check.hpp"

namespace simsmoe::app {

Corpus open_corpus(const DataConfig& config) {
  return Corpus::open({.name = config.path.empty() ? config.name : "file",
                       .path = config.path,
                       .folder = config.folder,
                       .valid_fraction = config.valid_fraction,
                       .test_fraction = config.test_fraction});
}

namespace {

// Bytes are the same whatever the text; only a vocabulary of characters has to read it.
std::unique_ptr<Tokenizer> vocabulary_of(const DataConfig& config, const Corpus& corpus) {
  const bool read = config.vocab != TokenKind::byte;
  return make_tokenizer(config.vocab, read ? corpus.text(Split::all).bytes() : std::string());
}

}  // namespace

Dataset::Dataset(const DataConfig& config, std::unique_ptr<Tokenizer> known) try
    : corpus(open_corpus(config)),
      tokenizer(known ? std::move(known) : vocabulary_of(config, corpus)),
      train(*tokenizer, corpus.text(Split::train)),
      valid(*tokenizer, corpus.text(Split::valid)) {
} catch (const std::bad_alloc&) {
  throw UserError(
      fmt::format("the text does not fit into memory, where data.vocab = \"{}\" keeps all of it: "
                  "data.vocab = \"byte\" reads it where it is asked for",
                  nn::name_of(config.vocab)));
}

}  // namespace simsmoe::app
