#pragma once
// Sums over many elements whose order is a function of the sizes alone: the work is cut into blocks of a
// fixed size, each block is summed by one thread, and the partial sums are added in order. The same bits for
// any number of threads, and rounding errors that grow with the block rather than with the whole.

#include <algorithm>
#include <type_traits>
#include <vector>

#include "ops/cpu_kernel.hpp"

namespace simsmoe::cpu {

// What is computed in where sums or squares of A leave its range: the squares of A are within that of Wide.
template <class A>
using Wide = std::conditional_t<std::is_same_v<A, float>, double, long double>;

// sums += row. A function of plain pointers, as every vector loop should be: within a lambda that captures
// them by reference the compiler loads the pointers again for each element and gathers.
template <class T>
void add_row(const T* row, acc_t<T>* sums, std::int64_t n) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) sums[j] += static_cast<acc_t<T>>(row[j]);
}

// to = sums, or += sums.
template <class T>
void write_grads(const acc_t<T>* sums, T* to, std::int64_t n, bool accumulate) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) write_grad(to[j], sums[j], accumulate);
}

// sum over [0, n) of what sum_of(begin, end) -> double returns for each block.
template <class F>
double sum_blocks(std::int64_t n, const F& sum_of) {
  constexpr std::int64_t kBlock = 4096;
  const std::int64_t blocks = (n + kBlock - 1) / kBlock;
  std::vector<double> partial(static_cast<std::size_t>(blocks));
  parallel_for(blocks, kGrain / kBlock, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b)
      partial[static_cast<std::size_t>(b)] = sum_of(b * kBlock, std::min((b + 1) * kBlock, n));
  });
  double total = 0.0;
  for (const double p : partial) total += p;
  return total;
}

// Column sums of a [rows, n] matrix that exists only row by row: add_one(row, sums) adds a row to sums[0..n).
template <class T, class F>
void sum_columns(std::int64_t rows, std::int64_t n, const GradTarget& to, const F& add_one) {
  constexpr std::int64_t kBlock = 64;
  const std::int64_t blocks = (rows + kBlock - 1) / kBlock;
  std::vector<acc_t<T>> partial(static_cast<std::size_t>(blocks * n), acc_t<T>{0});
  parallel_rows(blocks, kBlock * n, [&](std::int64_t b) {
    for (std::int64_t row = b * kBlock; row < std::min((b + 1) * kBlock, rows); ++row)
      add_one(row, partial.data() + b * n);
  });
  std::vector<acc_t<T>> total(static_cast<std::size_t>(n), acc_t<T>{0});
  for (std::int64_t b = 0; b < blocks; ++b) add_row(partial.data() + b * n, total.data(), n);
  write_grads(total.data(), to.buffer.data<T>(), n, to.accumulate);
}

}  // namespace simsmoe::cpu
