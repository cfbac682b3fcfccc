#pragma once
// Randomness as a function: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
// 2011) of (seed, stream, step, element). Nothing is stored: a resumed run, a recomputed activation and a GPU
// draw the same bits. Element i uses lane i % 4 of block i / 4.

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

#include "engine/host_device.hpp"

namespace simsmoe {

struct RandomKey {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;  // hash of a name such as "decoder.layers.3.dropout"
};

// FNV-1a: the stream of a name. Being a hash of the name, it does not change when layers are added elsewhere.
constexpr std::uint64_t stream_of(std::string_view name) {
  std::uint64_t h = 0xcbf29ce484222325ull;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return h;
}

struct PhiloxBlock {
  std::uint32_t lane[4];
};

// The bits of block `block` of the stream at `step`: the key is the seed, the counter is
// (block, stream ^ mix(step)).
SMX_HOST_DEVICE inline PhiloxBlock philox(RandomKey key, std::uint64_t step, std::uint64_t block) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key.seed), k1 = static_cast<std::uint32_t>(key.seed >> 32);
  const std::uint64_t where = key.stream ^ (step * 0x9e3779b97f4a7c15ull);
  std::uint32_t c0 = static_cast<std::uint32_t>(block), c1 = static_cast<std::uint32_t>(block >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(where), c3 = static_cast<std::uint32_t>(where >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

SMX_HOST_DEVICE inline std::uint32_t random_bits(RandomKey key, std::uint64_t step, std::uint64_t element) {
  return philox(key, step, element / 4).lane[element % 4];
}

// Uniform in [0, 1): 24 bits, so exactly representable in f32.
SMX_HOST_DEVICE inline float uniform_from_bits(std::uint32_t bits) {
  return static_cast<float>(bits >> 8) * 0x1p-24f;
}

SMX_HOST_DEVICE inline float random_uniform(RandomKey key, std::uint64_t step, std::uint64_t element) {
  return uniform_from_bits(random_bits(key, step, element));
}

// Standard normal by Box-Muller in double; elements 2j and 2j+1 are the pair of block j. On a GPU the logarithm and
// the sine may differ in their last bit. Initialisers draw on the host, so a model starts with the same bits everywhere.
// One (key, step) serves uniforms or normals, not both: they would share blocks.
SMX_HOST_DEVICE inline double random_normal(RandomKey key, std::uint64_t step, std::uint64_t element) {
  const PhiloxBlock b = philox(key, step, element / 2);
  const std::uint64_t hi = (static_cast<std::uint64_t>(b.lane[0]) << 32) | b.lane[1];
  const std::uint64_t lo = (static_cast<std::uint64_t>(b.lane[2]) << 32) | b.lane[3];
  const double u1 = (static_cast<double>(hi >> 11) + 1.0) * 0x1p-53;  // (0, 1]: the logarithm is finite
  const double u2 = static_cast<double>(lo >> 11) * 0x1p-53;
  constexpr double kTwoPi = 2.0 * std::numbers::pi;
  const double radius = ::sqrt(-2.0 * ::log(u1)), angle = kTwoPi * u2;
  return element % 2 == 0 ? radius * ::cos(angle) : radius * ::sin(angle);
}

}  // namespace simsmoe
