// oneDNN's f32 product, on the calling thread.

#include <dnnl.h>
#include <omp.h>

#include <algorithm>

#include "engine/check.hpp"
#include "engine/cpu/gemm_libraries.hpp"
#include "engine/tensor.hpp"

namespace simsmoe::cpu {

namespace {

// oneDNN walks down the columns of an operand whose rows run along k. When their distance is a multiple of
// 1 KiB, those columns fall on a few sets of the first-level cache and evict each other: 33 instead of 65
// GFLOP/s at a distance of 4 KiB. Such an operand is copied, kDepth rows at a time, to padded rows.
constexpr std::int64_t kBadStride = 256, kDepth = 256, kPadding = 16;
constexpr std::int64_t kWorthCopying = 32;  // uses of each copied element

class PaddedRows {
 public:
  explicit PaddedRows(std::int64_t columns)
      : columns_(columns), memory_(Tensor::empty({kDepth, stride()}, DType::f32)) {}
  std::int64_t stride() const { return columns_ + kPadding; }
  const float* copy(const float* x, std::int64_t rows, std::int64_t distance) const {
    float* to = memory_.data<float>();
    for (std::int64_t i = 0; i < rows; ++i) std::copy_n(x + i * distance, columns_, to + i * stride());
    return to;
  }

 private:
  std::int64_t columns_;
  Tensor memory_;
};

void sgemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
           std::int64_t lda, const float* b, std::int64_t ldb, float* c, std::int64_t ldc, bool accumulate) {
  const auto letter = [](Transpose t) { return t == Transpose::transposed ? 'T' : 'N'; };
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);  // of this thread: oneDNN would divide the work, which gemm.cpp has done
  const dnnl_status_t status =
      dnnl_sgemm(letter(ta), letter(tb), m, n, k, 1.0f, a, lda, b, ldb, accumulate ? 1.0f : 0.0f, c, ldc);
  omp_set_num_threads(threads);
  SMX_CHECK(status == dnnl_success, "[gemm] oneDNN failed with status {} at m={} n={} k={}",
            static_cast<int>(status), m, n, k);
}

}  // namespace

void onednn_gemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                 std::int64_t lda, const float* b, std::int64_t ldb, float* c, std::int64_t ldc,
                 bool accumulate) {
  const bool copy_a = ta == Transpose::transposed && lda % kBadStride == 0 && n >= kWorthCopying;
  const bool copy_b = tb == Transpose::none && ldb % kBadStride == 0 && m >= kWorthCopying;
  if (!copy_a && !copy_b) return sgemm(ta, tb, m, n, k, a, lda, b, ldb, c, ldc, accumulate);

  const PaddedRows a_rows(copy_a ? m : 0), b_rows(copy_b ? n : 0);
  for (std::int64_t begin = 0; begin < k; begin += kDepth) {
    const std::int64_t depth = std::min(kDepth, k - begin);
    const float* ak = a + begin * (ta == Transpose::transposed ? lda : 1);
    const float* bk = b + begin * (tb == Transpose::none ? ldb : 1);
    if (copy_a) ak = a_rows.copy(ak, depth, lda);
    if (copy_b) bk = b_rows.copy(bk, depth, ldb);
    sgemm(ta, tb, m, n, depth, ak, copy_a ? a_rows.stride() : lda, bk, copy_b ? b_rows.stride() : ldb, c, ldc,
          accumulate || begin > 0);
  }
}

}  // namespace simsmoe::cpu
