#pragma once
// The gradients of attention that sequences share, those of r and of the biases, on the CPU: summed without
// a lock, in an order that does not depend on the threads, in bounded memory.

#include <algorithm>

#include "ops/attention.hpp"
#include "ops/cpu_sums.hpp"

namespace simsmoe::cpu::attention {

// Sums of a gradient that sequences share: of r, or of a bias. One thread computes a piece of the batch and a
// key head in order, into a slot of its own; the pieces are added in order at the end.
template <class A>
class PieceSums {
 public:
  PieceSums(const GradTarget& target, std::int64_t pieces, std::int64_t slots, std::int64_t rows,
            std::int64_t C)
      : pieces_(pieces), slots_(slots), rows_(rows), width_(C) {
    if (target.buffer.defined()) memory_ = Tensor::zeros({pieces, slots, rows, C}, dtype_of<A>());
  }
  bool wanted() const { return memory_.defined(); }
  A* at(std::int64_t piece, std::int64_t slot, std::int64_t row = 0) const {
    return memory_.data<A>() + ((piece * slots_ + slot) * rows_ + row) * width_;
  }
  // to = the sum of `row` over all pieces and the slots [first, last), 0 for a row that is not here; or adds.
  template <class T>
  void write(std::int64_t row, std::int64_t first, std::int64_t last, T* to, bool accumulate) const {
    if (row < 0 || row >= rows_ || first == last) {
      if (!accumulate) std::fill_n(to, width_, T(0.0f));
      return;
    }
    A* total = at(0, first, row);
    for (std::int64_t piece = 0; piece < pieces_; ++piece)
      for (std::int64_t slot = first; slot < last; ++slot)
        if (piece > 0 || slot > first) add_row(at(piece, slot, row), total, width_);
    write_grads(total, to, width_, accumulate);
  }

 private:
  std::int64_t pieces_, slots_, rows_, width_;
  Tensor memory_;
};

// The pieces of the batch, and the three gradients that are summed over it. How many pieces there are depends
// on the shapes alone, so that sums do not depend on the threads, and is at most 64 / G or 1, so that memory
// does not grow with the batch: it holds each of these gradients that often, that of an r that heads share G
// times as often.
template <class A>
struct SharedSums {
  SharedSums(const AttentionSpec& spec, const AttentionGradients& d)
      : batch(spec.q.batch()),
        pieces(std::clamp<std::int64_t>(64 / std::max<std::int64_t>(spec.k.count, 1), 1,
                                        std::max<std::int64_t>(batch, 1))),
        r_heads(spec.relative.defined() && spec.relative.rank() == 3 ? spec.q.count : 1),
        relative(d.relative, pieces, r_heads > 1 ? r_heads : spec.k.count, spec.farthest - spec.nearest + 1,
                 spec.q.width()),
        query_bias(d.query_bias, pieces, spec.q.count, 1, spec.q.width()),
        relative_bias(d.relative_bias, pieces, spec.q.count, 1, spec.q.width()) {
    if (!relative.wanted() && !query_bias.wanted() && !relative_bias.wanted()) pieces = batch;
  }
  // Sequences of a piece: [begin(piece), begin(piece + 1)).
  std::int64_t begin(std::int64_t piece) const { return batch * piece / pieces; }

  template <class T>
  void write(const AttentionSpec& spec, const AttentionGradients& d) const {
    const std::int64_t H = spec.q.count, C = spec.q.width();
    if (query_bias.wanted())
      for (std::int64_t h = 0; h < H; ++h)
        query_bias.write(0, h, h + 1, d.query_bias.buffer.data<T>() + h * C, d.query_bias.accumulate);
    if (relative_bias.wanted())
      for (std::int64_t h = 0; h < H; ++h)
        relative_bias.write(0, h, h + 1, d.relative_bias.buffer.data<T>() + h * C,
                            d.relative_bias.accumulate);
    if (relative.wanted())
      parallel_rows(spec.relative.size(0), pieces * H * C, [&](std::int64_t i) {
        const std::int64_t row = spec.farthest - (spec.first_distance + i);
        T* to = d.relative.buffer.data<T>() + i * r_heads * C;
        if (r_heads == 1) return relative.write(row, 0, spec.k.count, to, d.relative.accumulate);
        for (std::int64_t h = 0; h < r_heads; ++h)
          relative.write(row, h, h + 1, to + h * C, d.relative.accumulate);
      });
  }

  std::int64_t batch, pieces, r_heads;
  PieceSums<A> relative;                   // [pieces, H or G, distances, C], from the farthest distance on
  PieceSums<A> query_bias, relative_bias;  // [pieces, H, 1, C]
};

}  // namespace simsmoe::cpu::attention
