#include "ops/norm.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "engine/philox.hpp"
#include "tests/ops/values.hpp"

// Rows on which a straightforward sum in f32 loses its digits or leaves its range, against f64 on the same numbers.

using namespace simsmoe;
using namespace simsmoe::testing;

namespace {

constexpr std::int64_t kRows = 6, kWide = 67;

Doubles normals(std::int64_t n, std::uint64_t stream, double scale, double shift) {
  Doubles x(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < x.size(); ++i)  // exact in f32, for both dtypes to start from
    x[i] = static_cast<float>(shift + scale * static_cast<double>(random_normal({3, stream}, 0, i)));
  return x;
}

using Norm = Variable (*)(const Variable& x, const Variable& weight, double eps);
Variable layer(const Variable& x, const Variable& weight, double eps) {
  return ops::layer_norm(x, weight, {}, eps);
}
Variable rms(const Variable& x, const Variable& weight, double eps) { return ops::rms_norm(x, weight, eps); }

// y, dx and dweight for gradients of mean 1.
std::vector<Doubles> results(Norm norm, const Doubles& x, double eps, DType dtype) {
  const Variable in = leaf(x, {kRows, kWide}, dtype),
                 weight = leaf(normals(kWide, 1, 0.2, 1.0), {kWide}, dtype);
  Tape tape;
  const Variable y = norm(in, weight, eps);
  tape.backward(y, tensor(normals(kRows * kWide, 2, 0.5, 1.0), y.shape(), dtype));
  return {values_of(y), values_of(in.grad()), values_of(weight.grad())};
}

// The largest difference of f32 from f64 beside the largest element of f64; over y, dx and dweight.
double error(Norm norm, const Doubles& x, double eps = 1e-5) {
  const auto narrow = results(norm, x, eps, DType::f32), exact = results(norm, x, eps, DType::f64);
  double worst = 0.0;
  for (std::size_t k = 0; k < exact.size(); ++k) {
    double largest = 0.0, difference = 0.0;
    for (std::size_t i = 0; i < exact[k].size(); ++i) {
      largest = std::max(largest, std::abs(exact[k][i]));
      difference = std::max(difference, std::abs(narrow[k][i] - exact[k][i]));
      if (!std::isfinite(narrow[k][i])) return kInf;
    }
    worst = std::max(worst, difference / largest);
  }
  return worst;
}

Doubles scaled(Doubles x, double factor) {
  for (double& v : x) v = static_cast<float>(v * factor);
  return x;
}

}  // namespace

TEST_CASE("a mean that is large beside the deviation costs layer_norm no digits") {
  for (const double mean : {0.0, 10.0, 1000.0, -1000.0, 30000.0})
    CHECK_MESSAGE(error(layer, normals(kRows * kWide, 0, 1.0, mean)) < 1e-5, mean);
  CHECK(error(rms, normals(kRows * kWide, 0, 1.0, 1000.0)) < 1e-5);
}

TEST_CASE("the magnitude of a row does not matter to its norm") {
  const Doubles x = normals(kRows * kWide, 0, 1.0, 0.5);
  for (const double magnitude : {1e-40, 1e-30, 1e-10, 1e10, 1e19, 1e20, 1e30, 3e37})
    for (const Norm norm : {layer, rms}) CHECK_MESSAGE(error(norm, scaled(x, magnitude)) < 1e-5, magnitude);
  // The sum leaves the range of f32, all differences stay within.
  for (const Norm norm : {layer, rms})
    CHECK(error(norm, scaled(normals(kRows * kWide, 0, 0.05, 1.0), 2e38)) < 2e-4);
  // The squares underflow, and eps is no larger.
  for (const Norm norm : {layer, rms}) CHECK(error(norm, scaled(x, 1e-25), 1e-52) < 1e-5);
}

TEST_CASE("a row of equal numbers is all bias to layer_norm") {
  for (const double x : {0.1, 1000.1, 1e20, 1e-30}) {
    const Variable row = leaf(Doubles(7, static_cast<float>(x)), {1, 7}, DType::f32);
    const Variable bias = leaf(Doubles(7, 0.25), {7}, DType::f32);
    CHECK_MESSAGE(values_of(ops::layer_norm(row, {}, bias)) == Doubles(7, 0.25), x);
  }
}
