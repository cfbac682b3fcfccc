#include <array>
#include <cmath>
#include <limits>

#include "engine/math.hpp"
#include "ops/attention_sums.hpp"
#include "ops/attention_tiles.hpp"

// One thread owns a sequence and a key head with the query heads that read it. It copies keys, values and r
// of the distances to dense matrices of the type that it computes in, and goes through tiles of queries x keys
// that fit the cache; tiles that no query sees are never touched. O((S + R) C) memory, block products by
// engine/cpu/gemm.

namespace simsmoe::cpu {

namespace {

using namespace attention;

// Multiply-adds of q k^T, over all heads.
std::int64_t work(const AttentionSpec& spec) {
  const HeadSlice& q = spec.q;
  return q.batch() * q.count * q.length() * std::min(spec.k.length(), spec.farthest - spec.nearest + 1) *
         q.width();
}

// y [B, T, H * C] as heads.
HeadSlice heads_of(const Tensor& y, const AttentionSpec& spec) {
  return {y.view({spec.q.batch(), spec.q.length(), spec.q.count, spec.q.width()}), 0, spec.q.count};
}

// --- forward --------------------------------------------------------------------------------------------

// The softmax of one row so far: its largest score, and the sum of exp(score - largest).
template <class A>
struct Running {
  A largest = -std::numeric_limits<A>::infinity(), sum = 0;
};

// Turns n scores into exp(score - largest so far), and what was summed before to the new scale.
template <class A>
void absorb(A* scores, std::int64_t n, Running<A>& row, A* y, std::int64_t C) {
  A largest = row.largest;
#pragma omp simd reduction(max : largest)
  for (std::int64_t s = 0; s < n; ++s) largest = math::max(largest, scores[s]);
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t s = 0; s < n; ++s) sum += scores[s] = math::exp(scores[s] - largest);
  if (row.sum > 0 && largest > row.largest) {
    const A shrink = math::exp(row.largest - largest);
    row.sum *= shrink;
    for (std::int64_t c = 0; c < C; ++c) y[c] *= shrink;
  }
  row.sum += sum;
  row.largest = largest;
}

// y = sum / sum of weights. A row that saw nothing has no weight, and gives 0.
template <class A>
void normalise(const Running<A>& row, A* y, std::int64_t C) {
  if (row.sum == 0)
    std::fill_n(y, C, A(0));
  else
    for (std::int64_t c = 0; c < C; ++c) y[c] /= row.sum;
}

// y of queries [t, t + m). y: [m, C]; lse: [m] or nullptr
template <class T, class A>
void attend(const Unit<T>& unit, std::int64_t t, std::int64_t m, std::int64_t C, ScoreTile<A>& scores, A* y,
            A* lse) {
  std::array<Running<A>, kQueries> rows{};
  bool started = false;
  unit.for_tiles(t, m, [&](const Tile& tile) {
    unit.scores(tile, scores);
    for (std::int64_t i = 0; i < m; ++i) {
      A* row = scores.row(i);
      const auto [from, to] = unit.seen(tile, i);
      if (from < to) absorb(row + from, to - from, rows[static_cast<std::size_t>(i)], y + i * C, C);
      std::fill(row, row + from, A(0));
      std::fill(row + to, row + tile.n, A(0));
    }
    gemm(kNone, kNone, m, C, tile.n, scores.row(0), scores.stride(), unit.v(tile), C, y, C, started);
    started = true;
  });
  for (std::int64_t i = 0; i < m; ++i) {
    const Running<A>& row = rows[static_cast<std::size_t>(i)];
    normalise(row, y + i * C, C);
    if (lse != nullptr) lse[i] = row.largest + math::log(row.sum);  // -inf when it saw nothing
  }
}

template <class T>
void forward_unit(const AttentionSpec& spec, std::int64_t b, std::int64_t g, const HeadSlice& y,
                  const Tensor& lse) {
  using A = acc_t<T>;
  const std::int64_t queries = spec.q.length(), C = spec.q.width(), H = spec.q.count;
  const std::int64_t group = H / spec.k.count;
  Unit<T> unit(spec, b, g);
  ScoreTile<A> scores(unit.relative());
  Block<A> result(kQueries, C);
  for (std::int64_t h = g * group; h < (g + 1) * group; ++h) {
    unit.load_head(h);
    T* to = y.x.data<T>() + y.offset(b, h);
    A* lse_row = lse.defined() ? lse.data<A>() + (b * H + h) * queries : nullptr;
    for (std::int64_t t = 0; t < queries; t += kQueries) {
      const std::int64_t m = std::min(kQueries, queries - t);
      unit.load_queries(t, m);
      attend(unit, t, m, C, scores, result.row(0), lse_row != nullptr ? lse_row + t : nullptr);
      result.store(to + t * y.stride(), m, y.stride());
    }
  }
}

}  // namespace

void attention_forward(const AttentionSpec& spec, const Tensor& y, const Tensor& lse) {
  const HeadSlice out = heads_of(y, spec);
  const std::int64_t B = spec.q.batch(), G = spec.k.count;
  for_float_dtype(y.dtype(), [&]<class T>() {
    parallel_for_dynamic(B * G, work(spec),
                         [&](std::int64_t i) { forward_unit<T>(spec, i / G, i % G, out, lse); });
  });
}

void append_heads(const HeadSlice& x, const Tensor& cache, std::int64_t position) {
  const std::int64_t T = x.length(), n = x.count * x.width();
  for_float_dtype(cache.dtype(), [&]<class S>() {
    parallel_rows(x.batch() * T, n, [&](std::int64_t row) {
      const std::int64_t b = row / T, t = row % T;
      std::copy_n(x.x.data<S>() + x.offset(b, 0) + t * x.stride(), n,
                  cache.data<S>() + (b * cache.size(1) + position + t) * n);
    });
  });
}

namespace {

// --- backward -------------------------------------------------------------------------------------------

// What the forward pass left, and the gradient of its result.
struct Saved {
  HeadSlice y, dy;
  Tensor lse;
};

// delta[t] = dy[t] . y[t] = sum_s P[t, s] dP[t, s]
template <class T, class A>
void row_dots(const Block<A>& dy, const T* y, std::int64_t rows, std::int64_t C, std::int64_t stride,
              A* delta) {
  for (std::int64_t t = 0; t < rows; ++t) {
    A dot = 0;
#pragma omp simd reduction(+ : dot)
    for (std::int64_t c = 0; c < C; ++c) dot += dy.row(t)[c] * static_cast<A>(y[t * stride + c]);
    delta[t] = dot;
  }
}

// Turns a row of n scores, of which [from, to) are seen, into P, and dz from dP into dZ.
template <class A>
void weigh(A* p, A* dz, std::int64_t from, std::int64_t to, std::int64_t n, A lse, A delta) {
  for (std::int64_t s = from; s < to; ++s) {
    p[s] = math::exp(p[s] - lse);
    dz[s] = p[s] * (dz[s] - delta);
  }
  for (A* row : {p, dz}) {
    std::fill(row, row + from, A(0));
    std::fill(row + to, row + n, A(0));
  }
}

// The gradients of one sequence and key head, tile by tile.
template <class T>
class UnitGradients {
 public:
  using A = acc_t<T>;

  UnitGradients(const AttentionSpec& spec, const Saved& saved, std::int64_t b, std::int64_t g,
                const AttentionGradients& d, const SharedSums<A>& sums)
      : spec_(spec),
        saved_(saved),
        b_(b),
        g_(g),
        C_(spec.q.width()),
        d_(d),
        sums_(sums),
        unit_(spec, b, g),
        p_(unit_.relative()),
        dz_(unit_.relative()),
        dy_(kQueries, C_),
        dq_(kQueries, C_),
        dq_relative_(kQueries, C_),
        dk_(unit_.keys(), C_),
        dv_(unit_.keys(), C_) {
    dk_.clear(unit_.keys());
    dv_.clear(unit_.keys());
  }

  void run(std::int64_t piece) {
    const std::int64_t queries = spec_.q.length(), group = spec_.q.count / spec_.k.count;
    for (std::int64_t h = g_ * group; h < (g_ + 1) * group; ++h) {
      unit_.load_head(h);
      for (std::int64_t t = 0; t < queries; t += kQueries)
        run_queries(piece, h, t, std::min(kQueries, queries - t));
    }
    store_keys(dk_, spec_.k, d_.k);
    store_keys(dv_, spec_.v, d_.v);
  }

 private:
  void run_queries(std::int64_t piece, std::int64_t h, std::int64_t t, std::int64_t m) {
    const HeadSlice& y = saved_.y;
    const std::int64_t at = y.offset(b_, h) + t * y.stride();
    unit_.load_queries(t, m);
    dy_.load(saved_.dy.x.data<T>() + at, m, y.stride());
    row_dots(dy_, y.x.data<T>() + at, m, C_, y.stride(), delta_.data());
    lse_ = saved_.lse.data<A>() + (b_ * y.count + h) * y.length() + t;
    dq_.clear(m);
    dq_relative_.clear(m);
    unit_.for_tiles(t, m, [&](const Tile& tile) {
      run_tile(tile);
      if (unit_.relative()) run_distances(tile, piece, sums_.r_heads > 1 ? h : g_);
    });
    add_rows(dq_, m, sums_.query_bias, piece, h);
    add_rows(dq_relative_, m, sums_.relative_bias, piece, h);
    if (!d_.q.buffer.defined()) return;
    if (unit_.relative()) add_row(dq_relative_.row(0), dq_.row(0), m * C_);
    const HeadSlice& q = spec_.q;
    dq_.store(d_.q.buffer.data<T>() + q.offset(b_, h) + t * q.stride(), m, q.stride(),
              static_cast<A>(spec_.scale), d_.q.accumulate);
  }

  // P and dZ of a tile, and what follows from them by way of the keys.
  void run_tile(const Tile& tile) {
    const auto [t, m, k, n] = tile;
    unit_.scores(tile, p_);
    dz_.shape(tile);
    if (unit_.relative()) dz_.clear_band(m);  // beside the stripe too, for run_distances
    gemm(kNone, kTransposed, m, n, C_, dy_.row(0), C_, unit_.v(tile), C_, dz_.row(0), dz_.stride(), false);
    for (std::int64_t i = 0; i < m; ++i) {
      const auto [from, to] = unit_.seen(tile, i);
      weigh(p_.row(i), dz_.row(i), from, to, n, lse_[i], delta_[static_cast<std::size_t>(i)]);
    }
    const std::int64_t key = k - unit_.first_key();
    if (d_.v.buffer.defined())
      gemm(kTransposed, kNone, n, C_, m, p_.row(0), p_.stride(), dy_.row(0), C_, dv_.row(key), C_, true);
    if (d_.k.buffer.defined())  // q is scaled already
      gemm(kTransposed, kNone, n, C_, m, dz_.row(0), dz_.stride(), unit_.q(), C_, dk_.row(key), C_, true);
    if (d_.q.buffer.defined() || sums_.query_bias.wanted())
      gemm(kNone, kNone, m, C_, n, dz_.row(0), dz_.stride(), unit_.k(tile), C_, dq_.row(0), C_, true);
  }

  // What follows from dZ by way of r: its band is the gradient of (q + w) r^T.
  void run_distances(const Tile& tile, std::int64_t piece, std::int64_t slot) {
    const auto [from, to, row] = unit_.columns(tile);
    const A* band = dz_.band(from);
    if (sums_.relative.wanted())
      gemm(kTransposed, kNone, to - from, C_, tile.m, band, kBand, unit_.q_relative(), C_,
           sums_.relative.at(piece, slot, row), C_, true);
    if (d_.q.buffer.defined() || sums_.relative_bias.wanted())
      gemm(kNone, kNone, tile.m, C_, to - from, band, kBand, unit_.r(row), C_, dq_relative_.row(0), C_, true);
  }

  // scale * the sum of the rows, to the bias of head h.
  void add_rows(const Block<A>& rows, std::int64_t m, const PieceSums<A>& sums, std::int64_t piece,
                std::int64_t h) {
    if (!sums.wanted()) return;
    A* sum = sums.at(piece, h);
    const A scale = static_cast<A>(spec_.scale);
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t c = 0; c < C_; ++c) sum[c] += scale * rows.row(i)[c];
  }

  // The gradient of keys or values; those that no query sees have none.
  void store_keys(const Block<A>& rows, const HeadSlice& slice, const GradTarget& to) {
    if (!to.buffer.defined()) return;
    T* dx = to.buffer.data<T>() + slice.offset(b_, g_);
    const std::int64_t first = unit_.first_key(), last = first + unit_.keys();
    for (std::int64_t s = 0; s < slice.length() && !to.accumulate; ++s)
      if (s < first || s >= last) std::fill_n(dx + s * slice.stride(), C_, T(0.0f));
    rows.store(dx + first * slice.stride(), unit_.keys(), slice.stride(), A(1), to.accumulate);
  }

  const AttentionSpec& spec_;
  const Saved& saved_;
  std::int64_t b_, g_, C_;
  const AttentionGradients& d_;
  const SharedSums<A>& sums_;
  Unit<T> unit_;
  ScoreTile<A> p_, dz_;
  Block<A> dy_, dq_, dq_relative_;  // of a tile of queries; dq without its scale
  Block<A> dk_, dv_;                // of the keys that any query sees
  std::array<A, kQueries> delta_{};
  const A* lse_ = nullptr;
};

}  // namespace

void attention_backward(const AttentionSpec& spec, const Tensor& y, const Tensor& lse, const Tensor& dy,
                        const AttentionGradients& gradients) {
  const std::int64_t G = spec.k.count;
  const Saved saved{heads_of(y, spec), heads_of(dy, spec), lse};
  for_float_dtype(y.dtype(), [&]<class T>() {
    const SharedSums<acc_t<T>> sums(spec, gradients);
    parallel_for_dynamic(sums.pieces * G, work(spec), [&](std::int64_t i) {
      const std::int64_t piece = i / G;
      for (std::int64_t b = sums.begin(piece); b < sums.begin(piece + 1); ++b)
        UnitGradients<T>(spec, saved, b, i % G, gradients, sums).run(piece);
    });
    sums.template write<T>(spec, gradients);
  });
}

}  // namespace simsmoe::cpu
