#pragma once
// Which tokens are seen when: pure functions of (seed, step). There is no state to save; a resumed run sees
// what it would have seen.

#include <cstdint>
#include <string>

#include "apps/data/tokenizer.hpp"
#include "engine/tensor.hpp"

namespace simsmoe::app {

struct Batch {
  Tensor tokens;             // i32 [B, T]
  Tensor targets;            // i32 [B, T]: the next token of each; kIgnoredTarget where there is none
  std::int64_t counted = 0;  // targets that are not ignored
  std::int64_t bytes = 0;    // of text that these stand for
};

inline constexpr std::int64_t kIgnoredTarget = -1;

// Training windows of T + 1 tokens. Each epoch cuts the text at a random phase into consecutive windows and
// visits every one exactly once, in an order drawn from (seed, epoch).
class TrainingBatches {
 public:
  // Throws UserError when the text is shorter than T + 1 tokens. `tokens` must stay alive.
  TrainingBatches(const TokenSequence& tokens, std::int64_t batch, std::int64_t length, std::uint64_t seed);
  Batch at(std::uint64_t index) const;  // index: micro-batches since the start of training
  std::int64_t windows_per_epoch() const { return windows_; }

 private:
  std::int64_t window_start(std::uint64_t sample) const;

  const TokenSequence& tokens_;
  std::int64_t batch_, length_, windows_;
  std::uint64_t seed_;
};

// The text from its first token to its last in consecutive windows of T, so that every token but the first is
// predicted exactly once; the last window and the last batch are filled up with ignored targets.
class EvaluationBatches {
 public:
  // max_batches > 0: only so many, spread evenly over the text. Throws UserError below 2 tokens of text.
  EvaluationBatches(const TokenSequence& tokens, std::int64_t batch, std::int64_t length,
                    std::int64_t max_batches = 0);
  std::int64_t size() const { return count_; }
  std::int64_t windows_of_text() const { return windows_; }
  Batch at(std::int64_t index) const;
  const TokenSequence& text() const { return tokens_; }

 private:
  const TokenSequence& tokens_;
  std::int64_t batch_, length_, windows_, total_, count_;
};

}  // namespace simsmoe::app
