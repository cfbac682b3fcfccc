#include "engine/cpu/gemm.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "engine/parallel_for.hpp"
#include "engine/philox.hpp"
#include "engine/tensor.hpp"
#include "tests/engine/support.hpp"

// Every layout, dtype, library and number of threads against three plain loops.

using namespace simsmoe;
using namespace simsmoe::cpu;

namespace {

struct Sizes {
  std::int64_t m, n, k;
};

// Sizes around the register tiles, one dimension at a time large, and (the last two) strides of 1 KiB, which
// the oneDNN door copies.
const std::vector<Sizes> kSizes = {{1, 1, 1},      {3, 5, 7},     {1, 257, 33},  {257, 1, 40},
                                   {2, 3, 301},    {70, 2, 129},  {130, 97, 65}, {200, 210, 60},
                                   {33, 256, 300}, {256, 40, 257}};

constexpr float kSentinel = -77.0f;
constexpr std::int64_t kPadding = 3;  // columns beside each matrix that nobody may touch

template <class T>
struct Matrix {
  Matrix(std::int64_t height, std::int64_t width, std::int64_t beside)
      : rows(height),
        columns(width),
        stride(width + beside),
        memory(Tensor::empty({height, stride}, dtype_of<T>())) {
    memory.fill(kSentinel);
  }
  T* data() const { return memory.data<T>(); }
  T& at(std::int64_t i, std::int64_t j) const { return data()[i * stride + j]; }
  std::int64_t rows, columns, stride;
  Tensor memory;
};

template <class T>
Matrix<T> random_matrix(std::int64_t rows, std::int64_t columns, std::int64_t beside, std::string_view name) {
  const Matrix<T> x(rows, columns, beside);
  const RandomKey key{3, stream_of(name)};
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j)
      x.at(i, j) = T(2.0f * random_uniform(key, 0, static_cast<std::uint64_t>(i * columns + j)) - 1.0f);
  return x;
}

template <class T>
T element(const Matrix<T>& x, Transpose t, std::int64_t i, std::int64_t j) {
  return t == Transpose::none ? x.at(i, j) : x.at(j, i);
}

// Rounding of a sum of k products of numbers below 1 (and of the result, for bf16).
template <class T>
double tolerance(double value, std::int64_t k) {
  const double unit = std::is_same_v<T, double> ? 0x1p-52 : 0x1p-23;
  return unit * static_cast<double>(k + 1) + (std::is_same_v<T, bf16> ? 0x1p-8 * std::abs(value) : 0.0);
}

template <class T>
void check_product(const Sizes& s, Transpose ta, Transpose tb, bool accumulate, std::int64_t beside) {
  const bool at = ta == Transpose::transposed, bt = tb == Transpose::transposed;
  const Matrix<T> a = random_matrix<T>(at ? s.k : s.m, at ? s.m : s.k, beside, "a");
  const Matrix<T> b = random_matrix<T>(bt ? s.n : s.k, bt ? s.k : s.n, beside, "b");
  const Matrix<T> before = random_matrix<T>(s.m, s.n, beside, "c"),
                  c = random_matrix<T>(s.m, s.n, beside, "c");
  for (std::int64_t i = 0; i < s.m && !accumulate; ++i)
    for (std::int64_t j = 0; j < s.n; ++j) c.at(i, j) = T(std::numeric_limits<float>::quiet_NaN());
  gemm(ta, tb, s.m, s.n, s.k, a.data(), a.stride, b.data(), b.stride, c.data(), c.stride, accumulate);
  int wrong = 0;
  for (std::int64_t i = 0; i < s.m; ++i) {
    for (std::int64_t j = 0; j < s.n; ++j) {
      double sum = accumulate ? static_cast<double>(before.at(i, j)) : 0.0;
      for (std::int64_t p = 0; p < s.k; ++p)
        sum += static_cast<double>(element(a, ta, i, p)) * static_cast<double>(element(b, tb, p, j));
      wrong += !(std::abs(static_cast<double>(c.at(i, j)) - sum) <= tolerance<T>(sum, s.k));
    }
    for (std::int64_t j = s.n; j < c.stride; ++j) wrong += static_cast<float>(c.at(i, j)) != kSentinel;
  }
  CHECK(wrong == 0);
}

template <class T>
void check_all_layouts() {
  for (const Sizes& s : kSizes)
    for (const auto ta : {Transpose::none, Transpose::transposed})
      for (const auto tb : {Transpose::none, Transpose::transposed})
        for (const bool accumulate : {false, true})
          for (const std::int64_t beside : {std::int64_t{0}, kPadding}) {
            INFO(s.m, " x ", s.n, " x ", s.k, " transposed ", static_cast<int>(ta), static_cast<int>(tb),
                 " accumulate ", accumulate, " beside ", beside, " ", name_of(dtype_of<T>()));
            check_product<T>(s, ta, tb, accumulate, beside);
          }
}

std::vector<GemmLibrary> libraries() {
  std::vector<GemmLibrary> found = {GemmLibrary::eigen};
  if (gemm_library() != GemmLibrary::eigen) found.push_back(gemm_library());
  return found;
}

struct Restore {
  GemmLibrary library = gemm_library();
  int threads = num_threads();
  ~Restore() {
    set_gemm_library(library);
    set_num_threads(threads);
  }
};

}  // namespace

TEST_CASE("gemm is the product for every layout, dtype, library and number of threads") {
  const Restore restore;
  for (const GemmLibrary library : libraries())
    for (const int threads : {1, 2, 3}) {
      CAPTURE(name_of(library));
      CAPTURE(threads);
      set_gemm_library(library);
      set_num_threads(threads);
      check_all_layouts<float>();
      if (threads < 3) check_all_layouts<bf16>();
      if (library == GemmLibrary::eigen) check_all_layouts<double>();
    }
}

TEST_CASE("gemm of empty matrices") {
  for (const bool accumulate : {false, true}) {
    check_product<float>({3, 4, 0}, Transpose::none, Transpose::none, accumulate, kPadding);
    check_product<bf16>({3, 4, 0}, Transpose::transposed, Transpose::none, accumulate, kPadding);
    check_product<double>({0, 4, 5}, Transpose::none, Transpose::transposed, accumulate, 0);
    check_product<float>({3, 0, 5}, Transpose::none, Transpose::none, accumulate, 0);
  }
}

TEST_CASE("gemm repeats its bits, whatever the address of its operands") {
  const Restore restore;
  for (const GemmLibrary library : libraries())
    for (const int threads : {1, 2}) {
      set_gemm_library(library);
      set_num_threads(threads);
      const Matrix<float> a = random_matrix<float>(130, 300, 0, "a"),
                          b = random_matrix<float>(300, 90, 0, "b");
      std::vector<Tensor> results;
      for (int run = 0; run < 3; ++run) {
        const Tensor x = a.memory.clone(), y = b.memory.clone(), z = Tensor::empty({130, 90}, DType::f32);
        gemm(Transpose::none, Transpose::none, 130, 90, 300, x.data<float>(), 300, y.data<float>(), 90,
             z.data<float>(), 90, false);
        results.insert(results.end(), {x, y, z});  // kept, so that the next run gets other memory
      }
      CHECK(results[2].to_vector<float>() == results[5].to_vector<float>());
      CHECK(results[2].to_vector<float>() == results[8].to_vector<float>());
    }
}

TEST_CASE("gemm inside a parallel loop is the product of one thread") {
  const Restore restore;
  const Matrix<float> a = random_matrix<float>(200, 260, 0, "a"), b = random_matrix<float>(260, 190, 0, "b");
  const auto product = [&](const Tensor& z) {
    gemm(Transpose::none, Transpose::none, 200, 190, 260, a.data(), 260, b.data(), 190, z.data<float>(), 190,
         false);
  };
  set_num_threads(1);
  const Tensor alone = Tensor::empty({200, 190}, DType::f32);
  product(alone);
  set_num_threads(2);
  const Tensor inside = Tensor::empty({4, 200, 190}, DType::f32);
  parallel_for_dynamic(4, INT64_MAX, [&](std::int64_t i) { product(inside.slice0(i, i + 1)); });
  CHECK(num_threads() == 2);
  for (std::int64_t i = 0; i < 4; ++i)
    CHECK(inside.slice0(i, i + 1).to_vector<float>() == alone.to_vector<float>());
}
