// oneDNN's f32 product. It looks at the OpenMP state: inside a parallel region it stays on its thread.

#include <dnnl.h>

#include "engine/check.hpp"
#include "engine/cpu/gemm_libraries.hpp"

namespace simsmoe::cpu {

void onednn_gemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                 std::int64_t lda, const float* b, std::int64_t ldb, float* c, std::int64_t ldc,
                 bool accumulate) {
  const auto letter = [](Transpose t) { return t == Transpose::transposed ? 'T' : 'N'; };
  const dnnl_status_t status =
      dnnl_sgemm(letter(ta), letter(tb), m, n, k, 1.0f, a, lda, b, ldb, accumulate ? 1.0f : 0.0f, c, ldc);
  SMX_CHECK(status == dnnl_success, "[gemm] oneDNN failed with status {} at m={} n={} k={}",
            static_cast<int>(status), m, n, k);
}

}  // namespace simsmoe::cpu
