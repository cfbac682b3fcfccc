#pragma once
// The one door to matrix products on the CPU. Eigen serves always (compiled in its own file for AVX2 + FMA,
// see README.md for what was measured); oneDNN serves f32 when it was found at configure time.

#include <cstdint>
#include <string_view>

namespace simsmoe::cpu {

enum class Transpose : unsigned char { none, transposed };

// C[m, n] = op(A)[m, k] * op(B)[k, n]  (+ C when accumulate), row-major, lda/ldb/ldc = distance of
// consecutive rows of the matrix as stored. k == 0 gives zeros (or leaves C). T = float, double or bf16
// (storage: operands are widened to f32, products and sums are f32, C is rounded once). Inside a parallel
// region one thread computes; outside, num_threads() do. Repeatable for a given thread count.
template <class T>
void gemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
          std::int64_t lda, const T* b, std::int64_t ldb, T* c, std::int64_t ldc, bool accumulate);

enum class GemmLibrary : unsigned char { eigen, onednn };
GemmLibrary gemm_library();                  // what serves f32 now
void set_gemm_library(GemmLibrary library);  // for benchmarks and tests; throws when it was not built in
std::string_view name_of(GemmLibrary library);

}  // namespace simsmoe::cpu
