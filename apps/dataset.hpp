#pragma once
// A corpus together with its vocabulary, as a run sees it.

#include <memory>

#include "apps/config.hpp"
#include "apps/data/corpus.hpp"
#include "apps/data/tokenizer.hpp"

namespace simsmoe::app {

Corpus open_corpus(const DataConfig& config);

struct Dataset {
  Corpus corpus;
  std::unique_ptr<Tokenizer> tokenizer;
  TokenSequence train, valid;

  // `known`: the vocabulary of a checkpoint; null: made from the text. Throws UserError as Corpus::open does,
  // and when the vocabulary cannot express the text.
  explicit Dataset(const DataConfig& config, std::unique_ptr<Tokenizer> known = nullptr);
};

}  // namespace simsmoe::app
