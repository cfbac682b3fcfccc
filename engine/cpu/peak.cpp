#include "engine/cpu/peak.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "engine/parallel_for.hpp"

namespace simsmoe::cpu {

namespace {

#ifdef __AVX512F__
constexpr int kVectorBytes = 64;
#else
constexpr int kVectorBytes = 32;
#endif
using Vector [[gnu::vector_size(kVectorBytes)]] = float;
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(float));
// Independent sums: two units with a latency of four or five cycles are kept busy by ten.
constexpr int kSums = 10;
constexpr std::int64_t kRounds = 2'000'000;

// Returns what it computed, so that it is not optimised away.
float multiply_and_add(float start) {
  Vector sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = Vector{} + start + static_cast<float>(i);
  const Vector factor = Vector{} + 0.999f, summand = Vector{} + 0.001f;
  for (std::int64_t round = 0; round < kRounds; ++round)
#pragma GCC unroll 10
    for (int i = 0; i < kSums; ++i) sums[i] = sums[i] * factor + summand;
  float total = 0.0f;
  for (const Vector& sum : sums) total += sum[0];
  return total;
}

}  // namespace

double measure_peak_gflops(int threads) {
  const int threads_before = num_threads();
  set_num_threads(threads);
  std::atomic<float> sink{0.0f};
  double best = 0.0;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const auto start = std::chrono::steady_clock::now();
    parallel_for(threads, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) sink = multiply_and_add(static_cast<float>(i));
    });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double operations = 2.0 * kLanes * kSums * static_cast<double>(kRounds) * threads;
    best = std::max(best, operations / seconds / 1e9);
  }
  set_num_threads(threads_before);
  return best;
}

}  // namespace simsmoe::cpu
