#pragma once
// What the two passes of attention on the CPU (attention_cpu.cpp) share: what a query sees, dense copies of
// heads, and the scores of a tile of queries x keys. T is the stored type, A = acc_t<T> computes.

#include <algorithm>

#include "engine/cpu/gemm.hpp"
#include "ops/attention.hpp"
#include "ops/cpu_kernel.hpp"

namespace simsmoe::cpu::attention {

inline constexpr std::int64_t kQueries = 64;  // rows of a tile
inline constexpr std::int64_t kKeys = 128;    // columns of a tile
// Columns of a tile's band: there are kQueries + kKeys - 1 distances in a tile.
inline constexpr std::int64_t kBand = kQueries + kKeys;

inline constexpr auto kNone = Transpose::none, kTransposed = Transpose::transposed;

// The keys that the queries of one sequence see: query t those in [first(t), last(t)). Neither decreases
// with t, hence the queries of a tile see all keys from the first of the first to the last of the last.
struct Sight {
  Sight(const AttentionSpec& spec, std::int64_t b)
      : to_first(spec.position - spec.farthest),
        to_last(spec.position - spec.nearest + 1),
        begin(std::clamp<std::int64_t>(bound(spec.begin, b, 0), 0, spec.k.length())),
        end(std::clamp(bound(spec.end, b, spec.k.length()), begin, spec.k.length())) {}
  std::int64_t first(std::int64_t t) const { return std::clamp(to_first + t, begin, end); }
  std::int64_t last(std::int64_t t) const { return std::clamp(to_last + t, begin, end); }

  static std::int64_t bound(const Tensor& bounds, std::int64_t b, std::int64_t otherwise) {
    if (!bounds.defined()) return otherwise;
    return for_index_dtype(bounds.dtype(), [&]<class I>() -> std::int64_t { return bounds.data<I>()[b]; });
  }

  std::int64_t to_first, to_last, begin, end;
};

// A dense [rows, columns] matrix. Tensors are aligned, which makes products repeatable: the order of a
// library's sums can depend on the address.
template <class A>
class Block {
 public:
  Block(std::int64_t rows, std::int64_t columns)
      : columns_(columns),
        memory_(Tensor::empty({rows, columns}, dtype_of<A>())),
        values_(memory_.data<A>()) {}
  A* row(std::int64_t i) { return values_ + i * columns_; }
  const A* row(std::int64_t i) const { return values_ + i * columns_; }

  void clear(std::int64_t rows) { std::fill_n(values_, rows * columns_, A(0)); }
  // scale * x of rows that are `stride` apart.
  template <class T>
  void load(const T* x, std::int64_t rows, std::int64_t stride, A scale = 1) {
    for (std::int64_t i = 0; i < rows; ++i) {
      prefetch<0>(x, i, rows, stride);
      for (std::int64_t c = 0; c < columns_; ++c) row(i)[c] = scale * static_cast<A>(x[i * stride + c]);
    }
  }
  // scale * (x + bias)
  template <class T>
  void load_biased(const T* x, std::int64_t rows, std::int64_t stride, A scale, const T* bias) {
    if (bias == nullptr) return load(x, rows, stride, scale);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t c = 0; c < columns_; ++c)
        row(i)[c] = scale * (static_cast<A>(x[i * stride + c]) + static_cast<A>(bias[c]));
  }
  template <class T>
  void store(T* x, std::int64_t rows, std::int64_t stride, A scale = 1, bool accumulate = false) const {
    for (std::int64_t i = 0; i < rows; ++i) {
      prefetch<1>(x, i, rows, stride);
      for (std::int64_t c = 0; c < columns_; ++c)
        write_grad(x[i * stride + c], scale * row(i)[c], accumulate);
    }
  }

 private:
  // Asks for a later row. Rows lie in pages of their own more often than not, where the processor does not
  // look ahead by itself: copies waited for memory one eighth of the time of a short sequence.
  template <int write, class T>
  void prefetch(const T* x, std::int64_t i, std::int64_t rows, std::int64_t stride) const {
    constexpr std::int64_t kAhead = 8, kLine = 64 / sizeof(T);
    if (i + kAhead >= rows) return;
    for (std::int64_t c = 0; c < columns_; c += kLine)
      __builtin_prefetch(x + (i + kAhead) * stride + c, write);
  }

  std::int64_t columns_;
  Tensor memory_;
  A* values_;
};

// Queries [t, t + m) and keys [k, k + n).
struct Tile {
  std::int64_t t, m, k, n;
};

// The scores of a tile, or their gradients: score (i, j) is row(i)[j].
//
// With a term by distance they are a diagonal stripe of a band [m, kBand], each of whose columns belongs to
// one distance, the farthest first: score (i, j) lies in column m - 1 - i + j of row i. Seen from column
// m - 1 of the first row that is again a matrix, of rows kBand - 1 apart. So a product with the r of a few
// distances fills the band, a product with keys adds to the stripe, and nothing is moved.
template <class A>
class ScoreTile {
 public:
  explicit ScoreTile(bool banded) : banded_(banded), memory_(kQueries, banded ? kBand : kKeys) {}

  void shape(const Tile& tile) {
    origin_ = banded_ ? tile.m - 1 : 0;
    stride_ = banded_ ? kBand - 1 : tile.n;
  }
  std::int64_t stride() const { return stride_; }
  A* row(std::int64_t i) { return memory_.row(0) + origin_ + i * stride_; }
  A* band(std::int64_t column) { return memory_.row(0) + column; }
  void clear_band(std::int64_t rows) { memory_.clear(rows); }

 private:
  bool banded_;
  Block<A> memory_;
  std::int64_t origin_ = 0, stride_ = 0;
};

// One sequence and key head: its keys and values, and its query heads tile by tile, dense.
template <class T>
class Unit {
 public:
  using A = acc_t<T>;

  Unit(const AttentionSpec& spec, std::int64_t b, std::int64_t g)
      : spec_(spec),
        b_(b),
        sight_(spec, b),
        first_key_(sight_.first(0)),
        keys_(spec.q.length() > 0 ? sight_.last(spec.q.length() - 1) - first_key_ : 0),
        distances_(spec.relative.defined() ? spec.farthest - spec.nearest + 1 : 0),
        k_(keys_, spec.k.width()),
        v_(keys_, spec.k.width()),
        q_(kQueries, spec.q.width()),
        q_relative_(own_relative() ? kQueries : 0, spec.q.width()),
        r_(distances_, spec.q.width()) {
    k_.load(spec.k.x.data<T>() + spec.k.offset(b, g) + first_key_ * spec.k.stride(), keys_, spec.k.stride());
    v_.load(spec.v.x.data<T>() + spec.v.offset(b, g) + first_key_ * spec.v.stride(), keys_, spec.v.stride());
  }

  // Turns to query head h.
  void load_head(std::int64_t h) {
    h_ = h;
    if (distances_ == 0) return;
    const std::int64_t C = spec_.q.width(), row = spec_.relative.shape().inner(0);
    const T* farthest = spec_.relative.data<T>() + (spec_.farthest - spec_.first_distance) * row;
    r_.load(farthest + (spec_.relative.rank() == 3 ? h * C : 0), distances_, -row);
  }

  // Turns to queries [t, t + m) of that head, scaled.
  void load_queries(std::int64_t t, std::int64_t m) {
    const T* q = spec_.q.x.data<T>() + spec_.q.offset(b_, h_) + t * spec_.q.stride();
    const A scale = static_cast<A>(spec_.scale);
    q_.load_biased(q, m, spec_.q.stride(), scale, bias(spec_.query_bias));
    if (own_relative()) q_relative_.load_biased(q, m, spec_.q.stride(), scale, bias(spec_.relative_bias));
  }

  // f(tile) for the tiles of queries [t, t + m) and the keys that they see.
  template <class F>
  void for_tiles(std::int64_t t, std::int64_t m, const F& f) const {
    const std::int64_t last = sight_.last(t + m - 1);
    for (std::int64_t k = sight_.first(t); k < last; k += kKeys) f(Tile{t, m, k, std::min(kKeys, last - k)});
  }

  // The part of row i of a tile that is seen: [from, to).
  struct Seen {
    std::int64_t from, to;
  };
  Seen seen(const Tile& tile, std::int64_t i) const {
    return {std::clamp<std::int64_t>(sight_.first(tile.t + i) - tile.k, 0, tile.n),
            std::clamp<std::int64_t>(sight_.last(tile.t + i) - tile.k, 0, tile.n)};
  }

  // The columns [from, to) of a tile's band whose distances may be seen, and the row of r() of the first.
  struct Columns {
    std::int64_t from, to, row;
  };
  Columns columns(const Tile& tile) const {
    const std::int64_t distance = spec_.position + tile.t + tile.m - 1 - tile.k;  // of column 0
    const std::int64_t from = std::max<std::int64_t>(0, distance - spec_.farthest);
    return {from, std::min(tile.m + tile.n - 1, distance - spec_.nearest + 1),
            spec_.farthest - distance + from};
  }

  // The scores of a tile; those that are not seen hold garbage.
  void scores(const Tile& tile, ScoreTile<A>& s) const {
    const std::int64_t C = spec_.q.width();
    s.shape(tile);
    if (distances_ > 0) {
      const Columns c = columns(tile);
      gemm(kNone, kTransposed, tile.m, c.to - c.from, C, q_relative(), C, r_.row(c.row), C, s.band(c.from),
           kBand, false);
    }
    gemm(kNone, kTransposed, tile.m, tile.n, C, q_.row(0), C, k(tile), C, s.row(0), s.stride(),
         distances_ > 0);
  }

  bool relative() const { return distances_ > 0; }
  std::int64_t first_key() const { return first_key_; }  // of those that any query sees
  std::int64_t keys() const { return keys_; }            // how many any query sees
  const A* k(const Tile& tile) const { return k_.row(tile.k - first_key_); }
  const A* v(const Tile& tile) const { return v_.row(tile.k - first_key_); }
  const A* q() const { return q_.row(0); }                                           // scale (q + u)
  const A* q_relative() const { return own_relative() ? q_relative_.row(0) : q(); }  // scale (q + w)
  const A* r(std::int64_t row) const { return r_.row(row); }                         // [distances, C]

 private:
  // Without biases both terms have the same query.
  bool own_relative() const {
    return distances_ > 0 && (spec_.query_bias.defined() || spec_.relative_bias.defined());
  }
  const T* bias(const Tensor& biases) const {
    return biases.defined() ? biases.data<T>() + h_ * spec_.q.width() : nullptr;
  }

  const AttentionSpec& spec_;
  std::int64_t b_, h_ = 0;
  Sight sight_;
  std::int64_t first_key_, keys_, distances_;
  Block<A> k_, v_;
  Block<A> q_, q_relative_;
  Block<A> r_;  // of head h, from the farthest distance to the nearest
};

}  // namespace simsmoe::cpu::attention
