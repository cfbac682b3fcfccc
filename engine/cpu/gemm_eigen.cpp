// Eigen's matrix product. The only file of the project that includes Eigen: it is compiled for AVX2 + FMA,
// and a template that two files compile for different instruction sets would break the one-definition rule.

#define EIGEN_DONT_PARALLELIZE  // gemm.cpp divides the work
#include <Eigen/Core>

#include "engine/cpu/gemm_libraries.hpp"

namespace simsmoe::cpu {

template <class T>
void eigen_gemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
                std::int64_t lda, const T* b, std::int64_t ldb, T* c, std::int64_t ldc, bool accumulate) {
  using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Stride = Eigen::OuterStride<>;
  using Operand = Eigen::Map<const Matrix, Eigen::Unaligned, Stride>;
  const bool at = ta == Transpose::transposed, bt = tb == Transpose::transposed;
  const Operand x(a, at ? k : m, at ? m : k, Stride(lda)), y(b, bt ? n : k, bt ? k : n, Stride(ldb));
  Eigen::Map<Matrix, Eigen::Unaligned, Stride> result(c, m, n, Stride(ldc));
  if (!accumulate) result.setZero();  // Eigen's assignment does the same inside
  if (at && bt)
    result.noalias() += x.transpose() * y.transpose();
  else if (at)
    result.noalias() += x.transpose() * y;
  else if (bt)
    result.noalias() += x * y.transpose();
  else
    result.noalias() += x * y;
}

template void eigen_gemm(Transpose, Transpose, std::int64_t, std::int64_t, std::int64_t, const float*,
                         std::int64_t, const float*, std::int64_t, float*, std::int64_t, bool);
template void eigen_gemm(Transpose, Transpose, std::int64_t, std::int64_t, std::int64_t, const double*,
                         std::int64_t, const double*, std::int64_t, double*, std::int64_t, bool);

}  // namespace simsmoe::cpu
