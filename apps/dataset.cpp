// Where the text of a configuration lies, and its tokens.

#include "apps/dataset.hpp"

namespace simsmoe::app {

Corpus open_corpus(const DataConfig& config) {
  return Corpus::open({.name = config.path.empty() ? config.name : "file",
                       .path = config.path,
                       .folder = config.folder,
                       .valid_fraction = config.valid_fraction,
                       .test_fraction = config.test_fraction});
}

Dataset::Dataset(const DataConfig& config, std::unique_ptr<Tokenizer> known)
    : corpus(open_corpus(config)),
      tokenizer(known ? std::move(known) : make_tokenizer(config.vocab, corpus.bytes(Split::all))),
      train(*tokenizer, corpus.bytes(Split::train)),
      valid(*tokenizer, corpus.bytes(Split::valid)) {}

}  // namespace simsmoe::app
