#include "apps/data/batches.hpp"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "engine/philox.hpp"

namespace simsmoe::app {

namespace {

// A pseudo-random permutation of [0, n): a Feistel network on the smallest even number of bits that holds n,
// repeated until the result falls inside ("cycle walking"). A function, so an epoch's order needs no memory.
std::uint64_t permuted(std::uint64_t i, std::uint64_t n, RandomKey key, std::uint64_t epoch) {
  const int half = std::max(1, static_cast<int>(std::bit_width(n - 1) + 1) / 2);
  const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  do {
    std::uint64_t left = i >> half, right = i & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t mixed = random_bits(key, epoch, (round << 40) | right);
      left = std::exchange(right, (left ^ mixed) & mask);
    }
    i = (left << half) | right;
  } while (i >= n);
  return i;
}

// Fills row `row` of a batch from `count` + 1 tokens at `start`; positions beyond `count` are padding.
void fill_row(const TokenSequence& tokens, std::int64_t start, std::int64_t count, std::int64_t row,
              Batch& batch) {
  const std::int64_t length = batch.tokens.size(1);
  const auto x = batch.tokens.host<std::int32_t>().subspan(static_cast<std::size_t>(row * length),
                                                           static_cast<std::size_t>(length));
  const auto y = batch.targets.host<std::int32_t>().subspan(static_cast<std::size_t>(row * length),
                                                            static_cast<std::size_t>(length));
  const auto filled = static_cast<std::size_t>(count);
  std::ranges::fill(x.subspan(filled), 0);
  std::ranges::fill(y.subspan(filled), static_cast<std::int32_t>(kIgnoredTarget));
  if (count == 0) return;
  std::vector<std::int32_t> ids(filled + 1);
  tokens.copy(start, ids);
  std::copy_n(ids.begin(), filled, x.begin());
  std::copy_n(ids.begin() + 1, filled, y.begin());
  batch.counted += count;
  batch.bytes += tokens.bytes(std::span(ids).subspan(1));
}

Batch empty_batch(std::int64_t rows, std::int64_t length) {
  return {Tensor::empty({rows, length}, DType::i32), Tensor::empty({rows, length}, DType::i32)};
}

}  // namespace

TrainingBatches::TrainingBatches(const TokenSequence& tokens, std::int64_t batch, std::int64_t length,
                                 std::uint64_t seed)
    : tokens_(tokens), batch_(batch), length_(length), windows_(0), seed_(seed) {
  if (tokens.size() < length + 1)
    throw UserError(
        fmt::format("the training text has {} tokens: train.seq = {} needs at least {}; make train.seq or "
                    "the other parts (data.valid_fraction, data.test_fraction) smaller, or give a "
                    "longer text (data.path)",
                    tokens.size(), length, length + 1));
  // A phase of up to length - 1 tokens is skipped at the front; that many windows are left in the worst case.
  windows_ = std::max<std::int64_t>(1, (tokens.size() - 1 - (length - 1)) / length);
}

std::int64_t TrainingBatches::window_start(std::uint64_t sample) const {
  const auto windows = static_cast<std::uint64_t>(windows_);
  const std::uint64_t epoch = sample / windows;
  const std::int64_t left = tokens_.size() - 1 - windows_ * length_;
  const auto choices = static_cast<std::uint64_t>(std::clamp<std::int64_t>(left + 1, 1, length_));
  const std::uint64_t phase = random_bits({seed_, stream_of("data.phase")}, epoch, 0) % choices;
  const std::uint64_t window = permuted(sample % windows, windows, {seed_, stream_of("data.order")}, epoch);
  return static_cast<std::int64_t>(phase + window * static_cast<std::uint64_t>(length_));
}

Batch TrainingBatches::at(std::uint64_t index) const {
  Batch batch = empty_batch(batch_, length_);
  for (std::int64_t row = 0; row < batch_; ++row)
    fill_row(tokens_,
             window_start(index * static_cast<std::uint64_t>(batch_) + static_cast<std::uint64_t>(row)),
             length_, row, batch);
  return batch;
}

EvaluationBatches::EvaluationBatches(const TokenSequence& tokens, std::int64_t batch, std::int64_t length,
                                     std::int64_t max_batches)
    : tokens_(tokens), batch_(batch), length_(length), windows_(0), total_(0), count_(0) {
  if (tokens.size() < 2)
    throw UserError(
        fmt::format("the text to evaluate has {} tokens: at least 2 are needed; make its part "
                    "(data.valid_fraction, data.test_fraction) larger, or give a longer text (data.path)",
                    tokens.size()));
  windows_ = (tokens.size() - 1 + length - 1) / length;
  total_ = (windows_ + batch - 1) / batch;
  count_ = max_batches > 0 ? std::min(max_batches, total_) : total_;
}

Batch EvaluationBatches::at(std::int64_t index) const {
  SMX_CHECK(index >= 0 && index < count_, "[evaluation] batch {} of {}", index, count_);
  const std::int64_t place = index * total_ / count_;  // spread evenly when only some are wanted
  Batch batch = empty_batch(batch_, length_);
  for (std::int64_t row = 0; row < batch_; ++row) {
    const std::int64_t start = (place * batch_ + row) * length_;
    fill_row(tokens_, start, std::clamp<std::int64_t>(tokens_.size() - 1 - start, 0, length_), row, batch);
  }
  return batch;
}

}  // namespace simsmoe::app
