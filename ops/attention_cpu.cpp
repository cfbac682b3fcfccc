#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "engine/cpu/gemm.hpp"
#include "engine/math.hpp"
#include "ops/attention.hpp"
#include "ops/cpu_kernel.hpp"

// One thread owns a (batch, head). It copies the head out of the packed layout to dense [T, C] matrices of
// the type that it computes in, and goes through tiles of queries x keys that fit the cache; tiles above the
// diagonal are never touched. O(T C) memory, block products by engine/cpu/gemm.

namespace simsmoe::cpu {

namespace {

constexpr std::int64_t kQueries = 64;  // rows of a tile
constexpr std::int64_t kKeys = 128;    // columns of a tile

constexpr auto kNone = Transpose::none, kTransposed = Transpose::transposed;

// The heads of a [B, T, 3, H, C] tensor.
struct Heads {
  explicit Heads(const Tensor& qkv)
      : T(qkv.size(1)), H(qkv.size(3)), C(qkv.size(4)), count(qkv.size(0) * H) {}
  std::int64_t packed_stride() const { return 3 * H * C; }
  // Where query (part 0), key (1) or value (2) of head i begins in the packed tensor.
  std::int64_t packed(std::int64_t i, std::int64_t part) const {
    return i / H * T * packed_stride() + (part * H + i % H) * C;
  }
  // The same for y: [B, T, H * C].
  std::int64_t plain_stride() const { return H * C; }
  std::int64_t plain(std::int64_t i) const { return i / H * T * H * C + i % H * C; }
  // Multiply-adds of q k^T, over all heads.
  std::int64_t work(std::int64_t keys) const { return count * T * keys * C; }
  std::int64_t T, H, C, count;
};

// A dense [rows, columns] matrix in A = acc_t<T>. Tensors are aligned, which makes products repeatable: the
// order of a library's sums can depend on the address.
template <class A>
class Block {
 public:
  Block(std::int64_t rows, std::int64_t columns)
      : rows_(rows),
        columns_(columns),
        memory_(Tensor::empty({rows, columns}, dtype_of<A>())),
        values_(memory_.data<A>()) {}
  A* row(std::int64_t i) { return values_ + i * columns_; }
  const A* row(std::int64_t i) const { return values_ + i * columns_; }

  void clear() { std::fill_n(row(0), rows_ * columns_, A(0)); }
  template <class T>
  void load(const T* x, std::int64_t stride, A scale = 1) {
    for (std::int64_t i = 0; i < rows_; ++i)
      for (std::int64_t c = 0; c < columns_; ++c) row(i)[c] = scale * static_cast<A>(x[i * stride + c]);
  }
  template <class T>
  void store(T* x, std::int64_t stride, A scale = 1, bool accumulate = false) const {
    for (std::int64_t i = 0; i < rows_; ++i)
      for (std::int64_t c = 0; c < columns_; ++c)
        write_grad(x[i * stride + c], scale * row(i)[c], accumulate);
  }

 private:
  std::int64_t rows_, columns_;
  Tensor memory_;
  A* values_;
};

// How many of a tile's n keys from k0 on the query at `position` sees.
std::int64_t visible(std::int64_t position, std::int64_t k0, std::int64_t n) {
  return std::clamp<std::int64_t>(position + 1 - k0, 0, n);
}

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

// y[t] = softmax of q[t] . k[s] over the keys s <= position + t, times v; q is scaled already.
// q, y: `queries` <= kQueries rows of C, k, v: [position + queries, C]. lse: [queries].
template <class A>
void attend(const A* q, const A* k, const A* v, std::int64_t queries, std::int64_t position, std::int64_t C,
            A* scores, A* y, A* lse) {
  std::array<Running<A>, kQueries> rows{};
  for (std::int64_t k0 = 0; k0 < position + queries; k0 += kKeys) {
    const std::int64_t n = std::min(kKeys, position + queries - k0);
    gemm(kNone, kTransposed, queries, n, C, q, C, k + k0 * C, C, scores, n, false);
    for (std::int64_t t = 0; t < queries; ++t) {
      A* row = scores + t * n;
      const std::int64_t seen = visible(position + t, k0, n);
      if (seen > 0) absorb(row, seen, rows[static_cast<std::size_t>(t)], y + t * C, C);
      std::fill(row + seen, row + n, A(0));
    }
    gemm(kNone, kNone, queries, C, n, scores, n, v + k0 * C, C, y, C, k0 > 0);
  }
  for (std::int64_t t = 0; t < queries; ++t) {
    const Running<A>& row = rows[static_cast<std::size_t>(t)];
    for (std::int64_t c = 0; c < C; ++c) y[t * C + c] /= row.sum;
    lse[t] = row.largest + math::log(row.sum);
  }
}

// What attend needs of all positions of a head.
template <class A>
struct HeadInputs {
  HeadInputs(std::int64_t queries, std::int64_t keys, std::int64_t C)
      : q(queries, C), k(keys, C), v(keys, C), y(queries, C) {}
  Block<A> q, k, v, y;
};

template <class A>
void attend_all(HeadInputs<A>& head, std::int64_t T, std::int64_t position, std::int64_t C, A* lse) {
  Block<A> scores(kQueries, kKeys);
  for (std::int64_t t = 0; t < T; t += kQueries)
    attend(head.q.row(t), head.k.row(0), head.v.row(0), std::min(kQueries, T - t), position + t, C,
           scores.row(0), head.y.row(t), lse + t);
}

}  // namespace

void causal_attention_forward(const Tensor& qkv, double scale, const Tensor& y, const Tensor& lse) {
  const Heads heads(qkv);
  for_float_dtype(qkv.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    parallel_for_dynamic(heads.count, heads.work(heads.T), [&](std::int64_t i) {
      HeadInputs<A> head(heads.T, heads.T, heads.C);
      const T* x = qkv.data<T>();
      head.q.load(x + heads.packed(i, 0), heads.packed_stride(), static_cast<A>(scale));
      head.k.load(x + heads.packed(i, 1), heads.packed_stride());
      head.v.load(x + heads.packed(i, 2), heads.packed_stride());
      attend_all(head, heads.T, 0, heads.C, lse.data<A>() + i * heads.T);
      head.y.store(y.data<T>() + heads.plain(i), heads.plain_stride());
    });
  });
}

namespace {

// The gradients of one head, tile by tile.
template <class A>
struct HeadGradients {
  HeadGradients(std::int64_t T, std::int64_t C)
      : rows(T), width(C), q(T, C), k(T, C), v(T, C), dy(T, C), dq(T, C), dk(T, C), dv(T, C) {}

  void run(const A* lse, const A* delta) {
    dk.clear();
    dv.clear();
    Block<A> p(kQueries, kKeys), ds(kQueries, kKeys);
    for (std::int64_t t = 0; t < rows; t += kQueries)
      for (std::int64_t k0 = 0; k0 < std::min(t + kQueries, rows); k0 += kKeys)
        tile(t, std::min(kQueries, rows - t), k0, lse + t, delta + t, p.row(0), ds.row(0));
  }

  // Queries [t, t + m) and the keys from k0 on that they see. p, ds: [m, n]
  void tile(std::int64_t t, std::int64_t m, std::int64_t k0, const A* lse, const A* delta, A* p, A* ds) {
    const std::int64_t n = std::min(kKeys, t + m - k0), C = width;
    gemm(kNone, kTransposed, m, n, C, q.row(t), C, k.row(k0), C, p, n, false);
    gemm(kNone, kTransposed, m, n, C, dy.row(t), C, v.row(k0), C, ds, n, false);
    for (std::int64_t i = 0; i < m; ++i) {
      A *pr = p + i * n, *dr = ds + i * n;
      const std::int64_t seen = visible(t + i, k0, n);
      const A shift = lse[i], mean = delta[i];
      for (std::int64_t s = 0; s < seen; ++s) {
        pr[s] = math::exp(pr[s] - shift);
        dr[s] = pr[s] * (dr[s] - mean);
      }
      std::fill(pr + seen, pr + n, A(0));
      std::fill(dr + seen, dr + n, A(0));
    }
    gemm(kTransposed, kNone, n, C, m, p, n, dy.row(t), C, dv.row(k0), C, true);
    gemm(kTransposed, kNone, n, C, m, ds, n, q.row(t), C, dk.row(k0), C, true);
    gemm(kNone, kNone, m, C, n, ds, n, k.row(k0), C, dq.row(t), C, k0 > 0);
  }

  std::int64_t rows, width;
  Block<A> q, k, v, dy, dq, dk, dv;
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

}  // namespace

void causal_attention_backward(const Tensor& qkv, double scale, const Tensor& y, const Tensor& lse,
                               const Tensor& dy, GradTarget dqkv) {
  const Heads heads(qkv);
  for_float_dtype(qkv.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const A factor = static_cast<A>(scale);
    parallel_for_dynamic(heads.count, heads.work(heads.T), [&](std::int64_t i) {
      HeadGradients<A> head(heads.T, heads.C);
      const std::int64_t packed = heads.packed_stride(), plain = heads.plain_stride();
      const T* x = qkv.data<T>();
      head.q.load(x + heads.packed(i, 0), packed, factor);  // hence dk = dS^T q below
      head.k.load(x + heads.packed(i, 1), packed);
      head.v.load(x + heads.packed(i, 2), packed);
      head.dy.load(dy.data<T>() + heads.plain(i), plain);
      Block<A> delta(heads.T, 1);
      row_dots(head.dy, y.data<T>() + heads.plain(i), heads.T, heads.C, plain, delta.row(0));
      head.run(lse.data<A>() + i * heads.T, delta.row(0));
      T* dx = dqkv.buffer.data<T>();
      head.dq.store(dx + heads.packed(i, 0), packed, factor, dqkv.accumulate);
      head.dk.store(dx + heads.packed(i, 1), packed, A(1), dqkv.accumulate);
      head.dv.store(dx + heads.packed(i, 2), packed, A(1), dqkv.accumulate);
    });
  });
}

void cached_attention_forward(const Tensor& qkv, double scale, const Tensor& cache, std::int64_t position,
                              const Tensor& y) {
  const Heads heads(qkv);
  const std::int64_t B = qkv.size(0), keys = position + heads.T, D = heads.plain_stride();
  for_float_dtype(qkv.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    parallel_for_dynamic(heads.count, heads.work(keys), [&](std::int64_t i) {
      const std::int64_t b = i / heads.H, h = i % heads.H;
      const auto cached = [&](std::int64_t part) {
        return cache.data<T>() + (part * B + b) * cache.size(2) * D + h * heads.C;
      };
      const T* x = qkv.data<T>();
      for (const std::int64_t part : {0, 1})
        for (std::int64_t t = 0; t < heads.T; ++t)
          std::copy_n(x + heads.packed(i, part + 1) + t * heads.packed_stride(), heads.C,
                      cached(part) + (position + t) * D);
      HeadInputs<A> head(heads.T, keys, heads.C);
      head.q.load(x + heads.packed(i, 0), heads.packed_stride(), static_cast<A>(scale));
      head.k.load(cached(0), D);
      head.v.load(cached(1), D);
      Block<A> lse(heads.T, 1);
      attend_all(head, heads.T, position, heads.C, lse.row(0));
      head.y.store(y.data<T>() + heads.plain(i), D);
    });
  });
}

void rotary_turn(const Tensor& x, std::int64_t first_position, double base, int direction, GradTarget y) {
  const Heads heads(x);
  const std::int64_t half = heads.C / 2;
  for_float_dtype(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    Block<A> cosines(heads.T, half), sines(heads.T, half);  // in f64: a large position leaves f32 no digits
    parallel_rows(heads.T, 50 * half, [&](std::int64_t t) {
      for (std::int64_t c = 0; c < half; ++c) {
        const double angle = static_cast<double>(first_position + t) *
                             std::pow(base, -2.0 * static_cast<double>(c) / static_cast<double>(heads.C));
        cosines.row(t)[c] = static_cast<A>(std::cos(angle));
        sines.row(t)[c] = static_cast<A>(direction * std::sin(angle));
      }
    });
    parallel_rows(x.size(0) * heads.T, heads.packed_stride(), [&](std::int64_t row) {
      const T* from = x.data<T>() + row * heads.packed_stride();
      T* to = y.buffer.data<T>() + row * heads.packed_stride();
      const A *cosine = cosines.row(row % heads.T), *sine = sines.row(row % heads.T);
      for (std::int64_t i = 0; i < 2 * heads.H; ++i, from += heads.C, to += heads.C)
        for (std::int64_t c = 0; c < half; ++c) {
          const A u = from[c], v = from[c + half];
          write_grad(to[c], u * cosine[c] - v * sine[c], y.accumulate);
          write_grad(to[c + half], u * sine[c] + v * cosine[c], y.accumulate);
        }
      for (std::int64_t c = 0; c < heads.H * heads.C; ++c)
        write_grad(to[c], static_cast<A>(from[c]), y.accumulate);
    });
  });
}

}  // namespace simsmoe::cpu
