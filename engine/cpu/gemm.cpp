#include "engine/cpu/gemm.hpp"

#include <algorithm>
#include <atomic>

#include "engine/check.hpp"
#include "engine/cpu/gemm_libraries.hpp"
#include "engine/parallel_for.hpp"
#include "engine/tensor.hpp"

// Divides a product over the threads, widens bf16, picks the library.

namespace simsmoe::cpu {

namespace {

#if SIMSMOE_ONEDNN
std::atomic<GemmLibrary> f32_library{GemmLibrary::onednn};
#else
std::atomic<GemmLibrary> f32_library{GemmLibrary::eigen};
#endif

// Rows or columns of C that are handed out together: a multiple of every library's register tile.
constexpr std::int64_t kStrip = 48;
// Multiply-adds that are worth a thread's while.
constexpr std::int64_t kThreadWork = 1 << 19;

// One product on the calling thread; m, n, k > 0.
void single(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
            std::int64_t lda, const float* b, std::int64_t ldb, float* c, std::int64_t ldc, bool accumulate) {
#if SIMSMOE_ONEDNN
  if (f32_library == GemmLibrary::onednn)
    return onednn_gemm(ta, tb, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
#endif
  eigen_gemm(ta, tb, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
}

void single(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const double* a,
            std::int64_t lda, const double* b, std::int64_t ldb, double* c, std::int64_t ldc,
            bool accumulate) {
  eigen_gemm(ta, tb, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
}

// f(begin, end) over the strips of `extent`, one contiguous piece per thread.
template <class F>
void for_strips(std::int64_t extent, std::int64_t work_per_line, const F& f) {
  const std::int64_t strips = (extent + kStrip - 1) / kStrip;
  const std::int64_t grain = kThreadWork / (kStrip * work_per_line) + 1;
  parallel_for(strips, grain, [&](std::int64_t begin, std::int64_t end) {
    f(begin * kStrip, std::min(end * kStrip, extent));
  });
}

// Each thread computes a strip of C along its longer side.
template <class T>
void divided(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
             std::int64_t lda, const T* b, std::int64_t ldb, T* c, std::int64_t ldc, bool accumulate) {
  if (m >= n) {
    for_strips(m, n * k, [&](std::int64_t begin, std::int64_t end) {
      const T* rows = a + begin * (ta == Transpose::none ? lda : 1);
      single(ta, tb, end - begin, n, k, rows, lda, b, ldb, c + begin * ldc, ldc, accumulate);
    });
  } else {
    for_strips(n, m * k, [&](std::int64_t begin, std::int64_t end) {
      const T* columns = b + begin * (tb == Transpose::none ? 1 : ldb);
      single(ta, tb, m, end - begin, k, a, lda, columns, ldb, c + begin, ldc, accumulate);
    });
  }
}

// A dense f32 copy of a bf16 matrix with `rows` stored rows.
Tensor widened(const bf16* x, std::int64_t rows, std::int64_t columns, std::int64_t stride) {
  Tensor wide = Tensor::empty({rows, columns}, DType::f32);
  float* values = wide.data<float>();
  parallel_for(rows, kThreadWork / columns + 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t j = 0; j < columns; ++j) values[i * columns + j] = x[i * stride + j];
  });
  return wide;
}

void divided(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const bf16* a,
             std::int64_t lda, const bf16* b, std::int64_t ldb, bf16* c, std::int64_t ldc, bool accumulate) {
  const bool at = ta == Transpose::transposed, bt = tb == Transpose::transposed;
  const Tensor x = widened(a, at ? k : m, at ? m : k, lda), y = widened(b, bt ? n : k, bt ? k : n, ldb);
  const Tensor z = accumulate ? widened(c, m, n, ldc) : Tensor::empty({m, n}, DType::f32);
  float* sum = z.data<float>();
  divided(ta, tb, m, n, k, x.data<float>(), x.size(1), y.data<float>(), y.size(1), sum, n, accumulate);
  parallel_for(m, kThreadWork / n + 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t j = 0; j < n; ++j) c[i * ldc + j] = bf16(sum[i * n + j]);
  });
}

}  // namespace

template <class T>
void gemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
          std::int64_t lda, const T* b, std::int64_t ldb, T* c, std::int64_t ldc, bool accumulate) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) {  // an empty sum
    for (std::int64_t i = 0; i < m && !accumulate; ++i) std::fill_n(c + i * ldc, n, T(0.0f));
    return;
  }
  divided(ta, tb, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
}

template void gemm(Transpose, Transpose, std::int64_t, std::int64_t, std::int64_t, const float*, std::int64_t,
                   const float*, std::int64_t, float*, std::int64_t, bool);
template void gemm(Transpose, Transpose, std::int64_t, std::int64_t, std::int64_t, const double*,
                   std::int64_t, const double*, std::int64_t, double*, std::int64_t, bool);
template void gemm(Transpose, Transpose, std::int64_t, std::int64_t, std::int64_t, const bf16*, std::int64_t,
                   const bf16*, std::int64_t, bf16*, std::int64_t, bool);

GemmLibrary gemm_library() { return f32_library; }

void set_gemm_library(GemmLibrary library) {
  SMX_CHECK(SIMSMOE_ONEDNN || library == GemmLibrary::eigen, "[gemm] this build has no {}", name_of(library));
  f32_library = library;
}

std::string_view name_of(GemmLibrary library) { return library == GemmLibrary::onednn ? "oneDNN" : "Eigen"; }

}  // namespace simsmoe::cpu
