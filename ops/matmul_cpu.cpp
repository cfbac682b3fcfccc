#include <algorithm>
#include <array>
#include <vector>

#include "engine/cpu/gemm.hpp"
#include "ops/broadcast.hpp"
#include "ops/cpu_kernel.hpp"
#include "ops/matmul.hpp"

// Products over batches and over experts. How the work is cut never depends on the number of threads, except
// inside one product (engine/cpu/gemm). Experts share one parallel region, each product on one thread: at a
// few hundred rows that beats a threaded product per expert.

namespace simsmoe::cpu {

namespace {

constexpr std::int64_t kExpertRows = 256;  // rows of one expert that one thread takes at a time

Transpose flag(bool transposed) { return transposed ? Transpose::transposed : Transpose::none; }

// The last two axes of a tensor as stored, and the others: how many such matrices there are.
struct Matrices {
  explicit Matrices(const Tensor& t)
      : leading(t.shape().without(-1).without(-1)),
        count(leading.numel()),
        rows(t.size(-2)),
        columns(t.size(-1)) {}
  std::int64_t numel() const { return rows * columns; }
  // The matrix of batch i where each batch has its own or all share one.
  std::int64_t one_of(std::int64_t i) const { return count == 1 ? 0 : i; }
  bool none_or_all_of(std::int64_t batches) const { return count == 1 || count == batches; }

  Shape leading;
  std::int64_t count, rows, columns;
};

// Which of the matrices with these leading axes serves batch i of those that they broadcast to.
std::int64_t matrix_of(const Shape& leading, const Shape& batch, std::int64_t i) {
  std::int64_t index = 0;
  for (int axis = 1; axis <= batch.rank(); ++axis) {  // from the last
    const std::int64_t place = i % batch[-axis];
    i /= batch[-axis];
    if (axis <= leading.rank() && leading[-axis] != 1) index += place * leading.inner(-axis);
  }
  return index;
}

// The matrices that are multiplied for each matrix of c, in the order of the batches.
struct Pair {
  std::int64_t a, b;
};
std::vector<std::vector<Pair>> pairs_by_result(const Shape& a, const Shape& b, const Shape& c,
                                               const Shape& batch) {
  std::vector<std::vector<Pair>> pairs(static_cast<std::size_t>(c.numel()));
  for (std::int64_t i = 0; i < batch.numel(); ++i)
    pairs[static_cast<std::size_t>(matrix_of(c, batch, i))].push_back(
        {matrix_of(a, batch, i), matrix_of(b, batch, i)});
  return pairs;
}

// Part of the rows of one expert.
struct Piece {
  std::int64_t expert, begin, end;
};

// Cuts [0, extent(rows of e)) of every expert e into equal pieces, about one per kExpertRows of its rows.
template <class F>
std::vector<Piece> cut(const Tensor& offsets, const F& extent) {
  const auto bounds = offsets.host<const std::int64_t>();
  std::vector<Piece> pieces;
  for (std::int64_t e = 0; e + 1 < offsets.size(0); ++e) {
    const std::int64_t rows = bounds[static_cast<std::size_t>(e + 1)] - bounds[static_cast<std::size_t>(e)];
    const std::int64_t count = std::max<std::int64_t>((rows + kExpertRows - 1) / kExpertRows, 1);
    const std::int64_t n = extent(rows), step = ((n + count - 1) / count + 15) / 16 * 16;
    for (std::int64_t begin = 0; begin < n; begin += step)
      pieces.push_back({e, begin, std::min(begin + step, n)});
  }
  return pieces;
}

// Pieces of the experts' rows, as rows of the whole batch.
std::vector<Piece> row_pieces(const Tensor& offsets) {
  std::vector<Piece> pieces = cut(offsets, [](std::int64_t rows) { return rows; });
  const auto bounds = offsets.host<const std::int64_t>();
  for (Piece& p : pieces) {
    p.begin += bounds[static_cast<std::size_t>(p.expert)];
    p.end += bounds[static_cast<std::size_t>(p.expert)];
  }
  return pieces;
}

// y = x W^T + b for some rows: the product is added to the bias.
template <class T>
void affine(const T* x, const T* weight, const T* bias, std::int64_t rows, std::int64_t in, std::int64_t out,
            T* y) {
  if (bias) parallel_rows(rows, out, [&](std::int64_t row) { std::copy_n(bias, out, y + row * out); });
  gemm(Transpose::none, Transpose::transposed, rows, out, in, x, in, weight, in, y, out, bias != nullptr);
}

}  // namespace

void matmul_product(const Tensor& a, bool ta, const Tensor& b, bool tb, GradTarget target) {
  const Tensor& c = target.buffer;
  if (c.numel() == 0) return;
  const Matrices am(a), bm(b), cm(c);
  const Shape batch = broadcast_shape("matmul", am.leading, bm.leading);
  const std::int64_t batches = batch.numel();
  const std::int64_t m = cm.rows, n = cm.columns, k = ta ? am.rows : am.columns;
  for_float_dtype(c.dtype(), [&]<class T>() {
    const T *pa = a.data<T>(), *pb = b.data<T>();
    T* pc = c.data<T>();
    const auto product = [&](std::int64_t i_a, std::int64_t i_b, std::int64_t i_c, std::int64_t rows,
                             std::int64_t depth, bool accumulate) {
      gemm(flag(ta), flag(tb), rows, n, depth, pa + i_a * am.numel(), am.columns, pb + i_b * bm.numel(),
           bm.columns, pc + i_c * cm.numel(), n, accumulate);
    };
    if (!am.none_or_all_of(batches) || !bm.none_or_all_of(batches) || !cm.none_or_all_of(batches)) {
      const std::vector<std::vector<Pair>> pairs = pairs_by_result(am.leading, bm.leading, cm.leading, batch);
      parallel_for_dynamic(cm.count, batches * m * n * k, [&](std::int64_t i) {
        bool accumulate = target.accumulate;
        for (const Pair& pair : pairs[static_cast<std::size_t>(i)]) {
          product(pair.a, pair.b, i, m, k, accumulate);
          accumulate = true;
        }
        if (!accumulate) product(0, 0, i, m, 0, false);  // an empty sum
      });
    } else if (cm.count > 1 && bm.count == 1 && !ta) {  // the batches are more rows of one product
      product(0, 0, 0, m * batches, k, target.accumulate);
    } else if (cm.count > 1) {
      parallel_for_dynamic(batches, batches * m * n * k, [&](std::int64_t i) {
        product(am.one_of(i), bm.one_of(i), i, m, k, target.accumulate);
      });
    } else if (batches == 0 || (ta && !tb && am.count == bm.count)) {  // batches lengthen the inner axis
      product(0, 0, 0, m, k * batches, target.accumulate);
    } else {
      for (std::int64_t i = 0; i < batches; ++i)
        product(am.one_of(i), bm.one_of(i), 0, m, k, target.accumulate || i > 0);
    }
  });
}

void linear_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y) {
  for_float_dtype(y.dtype(), [&]<class T>() {
    affine(x.data<T>(), weight.data<T>(), bias.defined() ? bias.data<T>() : nullptr, x.size(0), x.size(1),
           weight.size(0), y.data<T>());
  });
}

void grouped_bias_backward(const Tensor& dy, const Tensor& offsets, GradTarget dbias) {
  constexpr std::int64_t kColumns = 64;  // one thread's share of an expert: four cache lines of every row
  const std::int64_t out = dy.size(1), strips = (out + kColumns - 1) / kColumns;
  const std::int64_t* bounds = offsets.data<std::int64_t>();
  for_float_dtype(dy.dtype(), [&]<class T>() {
    parallel_rows(
        dbias.buffer.size(0) * strips, kColumns * (1 + dy.size(0) / offsets.size(0)), [&](std::int64_t i) {
          const std::int64_t e = i / strips, first = i % strips * kColumns,
                             width = std::min(kColumns, out - first);
          std::array<acc_t<T>, kColumns> sum{};
          for (std::int64_t row = bounds[e]; row < bounds[e + 1]; ++row)
            for (std::int64_t j = 0; j < width; ++j)
              sum[static_cast<std::size_t>(j)] += static_cast<acc_t<T>>(dy.data<T>()[row * out + first + j]);
          for (std::int64_t j = 0; j < width; ++j)
            write_grad(dbias.buffer.data<T>()[e * out + first + j], sum[static_cast<std::size_t>(j)],
                       dbias.accumulate);
        });
  });
}

void grouped_matmul_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& offsets,
                            const Tensor& y) {
  const std::int64_t in = weight.size(2), out = weight.size(1);
  const std::vector<Piece> pieces = row_pieces(offsets);
  for_float_dtype(y.dtype(), [&]<class T>() {
    parallel_for_dynamic(std::ssize(pieces), x.size(0) * in * out, [&](std::int64_t i) {
      const Piece& p = pieces[static_cast<std::size_t>(i)];
      affine(x.data<T>() + p.begin * in, weight.data<T>() + p.expert * out * in,
             bias.defined() ? bias.data<T>() + p.expert * out : nullptr, p.end - p.begin, in, out,
             y.data<T>() + p.begin * out);
    });
  });
}

void grouped_matmul_backward_x(const Tensor& dy, const Tensor& weight, const Tensor& offsets, GradTarget dx) {
  const std::int64_t in = weight.size(2), out = weight.size(1);
  const std::vector<Piece> pieces = row_pieces(offsets);
  for_float_dtype(dy.dtype(), [&]<class T>() {
    parallel_for_dynamic(std::ssize(pieces), dy.size(0) * in * out, [&](std::int64_t i) {
      const Piece& p = pieces[static_cast<std::size_t>(i)];
      gemm(Transpose::none, Transpose::none, p.end - p.begin, in, out, dy.data<T>() + p.begin * out, out,
           weight.data<T>() + p.expert * out * in, in, dx.buffer.data<T>() + p.begin * in, in, dx.accumulate);
    });
  });
}

void grouped_matmul_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& offsets,
                                    GradTarget dweight) {
  const std::int64_t in = x.size(1), out = dy.size(1);
  // Rows of dweight[e]; those of an expert without rows too, as zeros.
  const std::vector<Piece> pieces = cut(offsets, [&](std::int64_t) { return out; });
  const std::int64_t* bounds = offsets.data<std::int64_t>();
  for_float_dtype(dy.dtype(), [&]<class T>() {
    parallel_for_dynamic(std::ssize(pieces), x.size(0) * in * out, [&](std::int64_t i) {
      const Piece& p = pieces[static_cast<std::size_t>(i)];
      const std::int64_t first = bounds[p.expert], rows = bounds[p.expert + 1] - first;
      gemm(Transpose::transposed, Transpose::none, p.end - p.begin, in, rows,
           dy.data<T>() + first * out + p.begin, out, x.data<T>() + first * in, in,
           dweight.buffer.data<T>() + (p.expert * out + p.begin) * in, in, dweight.accumulate);
    });
  });
}

}  // namespace simsmoe::cpu
