#include "engine/math.hpp"

#include <bit>
#include <limits>

#include "tests/engine/support.hpp"

using namespace simsmoe;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The distance of two floats next to x.
double unit_in_the_last_place(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::ldexp(1.0, std::max(exponent, -125) - 24);
}

// The greatest error of f against libm's g, in units in the last place, over floats of every magnitude and
// both signs, denormals included. Where g leaves the floats, f must return infinity.
template <class F, class G>
double greatest_error(const F& f, const G& g) {
  double worst = 0;
  for (std::uint64_t bits = 0; bits < 0x100000000ull; bits += 4001) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(bits)), y = f(x);
    const double wanted = g(static_cast<double>(x));
    if (std::isnan(wanted)) {
      if (!std::isnan(y)) worst = kInfinity;
    } else if (std::fabs(wanted) > static_cast<double>(std::numeric_limits<float>::max())) {
      if (y != static_cast<float>(wanted)) worst = kInfinity;
    } else {
      const double error = std::fabs(static_cast<double>(y) - wanted) / unit_in_the_last_place(wanted);
      worst = std::isnan(error) ? kInfinity : std::max(worst, error);
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("math: f32 functions are as accurate as promised") {
  CHECK(greatest_error([](float x) { return math::exp(x); }, [](double x) { return std::exp(x); }) <= 1.05);
  CHECK(greatest_error([](float x) { return math::log(x); }, [](double x) { return std::log(x); }) <= 1.0);
  CHECK(greatest_error([](float x) { return math::tanh(x); }, [](double x) { return std::tanh(x); }) <= 1.4);
  CHECK(greatest_error([](float x) { return math::erf(x); }, [](double x) { return std::erf(x); }) <= 2.5);
  CHECK(greatest_error([](float x) { return math::sin(x); }, [](double x) { return std::sin(x); }) <= 1.0);
  CHECK(greatest_error([](float x) { return math::cos(x); }, [](double x) { return std::cos(x); }) <= 1.0);
}

TEST_CASE("math: special values") {
  for (const float x : {kNan, -kNan}) {
    CHECK(std::isnan(math::exp(x)));
    CHECK(std::isnan(math::log(x)));
    CHECK(std::isnan(math::tanh(x)));
    CHECK(std::isnan(math::erf(x)));
  }
  CHECK(math::exp(kInfinity) == kInfinity);
  CHECK(math::exp(-kInfinity) == 0.0f);
  CHECK(math::exp(0.0f) == 1.0f);
  CHECK(math::exp(-103.9f) == 0x1p-149f);
  CHECK(math::exp(-104.0f) == 0.0f);
  CHECK(math::log(kInfinity) == kInfinity);
  CHECK(math::log(0.0f) == -kInfinity);
  CHECK(math::log(-0.0f) == -kInfinity);
  CHECK(math::log(1.0f) == 0.0f);
  CHECK(std::isnan(math::log(-1.0f)));
  CHECK(std::isnan(math::log(-kInfinity)));
  for (const float sign : {1.0f, -1.0f}) {
    CHECK(math::tanh(sign * kInfinity) == sign);
    CHECK(math::erf(sign * kInfinity) == sign);
    CHECK(std::signbit(math::tanh(sign * 0.0f)) == std::signbit(sign));
    CHECK(std::signbit(math::erf(sign * 0.0f)) == std::signbit(sign));
  }
  CHECK(math::max(1.0f, 2.0f) == 2.0f);
  CHECK(math::min(1.0, 2.0) == 1.0);
  for (const auto& larger : {math::maximum<float>, math::minimum<float>}) {
    CHECK(std::isnan(larger(kNan, 1.0f)));
    CHECK(std::isnan(larger(1.0f, kNan)));
  }
  CHECK(math::maximum(1.0f, 2.0f) == 2.0f);
  CHECK(math::minimum(1.0f, 2.0f) == 1.0f);
}
