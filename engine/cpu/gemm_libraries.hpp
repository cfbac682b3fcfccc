#pragma once
// What gemm.cpp asks of a library: one product on the calling thread, m, n and k all positive. Arguments as
// in gemm.hpp. Private to engine/cpu.

#include "engine/cpu/gemm.hpp"

namespace simsmoe::cpu {

template <class T>  // float or double
void eigen_gemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
                std::int64_t lda, const T* b, std::int64_t ldb, T* c, std::int64_t ldc, bool accumulate);

void onednn_gemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                 std::int64_t lda, const float* b, std::int64_t ldb, float* c, std::int64_t ldc,
                 bool accumulate);

}  // namespace simsmoe::cpu
