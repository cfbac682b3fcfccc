#include "engine/philox.hpp"

#include <cmath>
#include <vector>

#include "tests/engine/support.hpp"

using namespace simsmoe;

namespace {

// The generator's output for a raw counter and key; step 0 leaves the stream as it is.
std::array<std::uint32_t, 4> philox_of(std::array<std::uint32_t, 4> counter,
                                       std::array<std::uint32_t, 2> key) {
  const auto join = [](std::uint32_t low, std::uint32_t high) { return std::uint64_t{high} << 32 | low; };
  const PhiloxBlock b =
      philox({join(key[0], key[1]), join(counter[2], counter[3])}, 0, join(counter[0], counter[1]));
  return {b.lane[0], b.lane[1], b.lane[2], b.lane[3]};
}

double correlation(const std::vector<double>& x, const std::vector<double>& y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum / static_cast<double>(x.size());
}

std::vector<double> normals(RandomKey key, std::uint64_t step, std::size_t n) {
  std::vector<double> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = random_normal(key, step, i);
  return x;
}

constexpr std::size_t kDraws = 200'000;  // a mean of unit variance then lies within 0.011 (5 sigma)

}  // namespace

TEST_CASE("philox: the known answers of Random123") {
  using Words = std::array<std::uint32_t, 4>;
  CHECK(philox_of({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox_of({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox_of({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("philox: elements are the lanes of consecutive blocks") {
  const RandomKey key{42, stream_of("x")};
  for (std::uint64_t i = 0; i < 16; ++i) CHECK(random_bits(key, 3, i) == philox(key, 3, i / 4).lane[i % 4]);
  static_assert(stream_of("") == 0xcbf29ce484222325ull);
  static_assert(stream_of("a") == 0xaf63dc4c8601ec8cull);  // the published FNV-1a vector
}

TEST_CASE("philox: uniforms lie between 0 and 1 with the right moments") {
  CHECK(uniform_from_bits(0) == 0.0f);
  CHECK(uniform_from_bits(~0u) < 1.0f);
  const RandomKey key{1, stream_of("uniform")};
  double mean = 0, square = 0;
  for (std::size_t i = 0; i < kDraws; ++i) {
    const double u = random_uniform(key, 0, i);
    REQUIRE(u >= 0.0);
    REQUIRE(u < 1.0);
    mean += u;
    square += (u - 0.5) * (u - 0.5);
  }
  CHECK(std::fabs(mean / kDraws - 0.5) < 0.0033);
  CHECK(std::fabs(square / kDraws - 1.0 / 12) < 0.001);
}

TEST_CASE("philox: normals have the moments of a standard normal") {
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
  for (const double x : normals({1, stream_of("normal")}, 0, kDraws)) {
    REQUIRE(std::isfinite(x));
    m1 += x;
    m2 += x * x;
    m3 += x * x * x;
    m4 += x * x * x * x;
  }
  CHECK(std::fabs(m1 / kDraws) < 0.011);
  CHECK(std::fabs(m2 / kDraws - 1) < 0.016);
  CHECK(std::fabs(m3 / kDraws) < 0.044);
  CHECK(std::fabs(m4 / kDraws - 3) < 0.11);
}

TEST_CASE("philox: seeds, streams, steps and neighbours are independent") {
  const RandomKey key{1, stream_of("a")};
  const std::vector<double> x = normals(key, 7, kDraws);
  CHECK(x == normals(key, 7, kDraws));
  CHECK(std::fabs(correlation(x, normals({2, key.stream}, 7, kDraws))) < 0.011);
  CHECK(std::fabs(correlation(x, normals({1, stream_of("b")}, 7, kDraws))) < 0.011);
  CHECK(std::fabs(correlation(x, normals(key, 8, kDraws))) < 0.011);
  std::vector<double> shifted(x.begin() + 1, x.end());
  shifted.push_back(x.front());
  CHECK(std::fabs(correlation(x, shifted)) < 0.011);
}
