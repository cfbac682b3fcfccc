#include <algorithm>
#include <cmath>

#include "ops/cpu_kernel.hpp"
#include "ops/random.hpp"

// Batches of Philox blocks, one block to a vector lane. Which bits belong to an element depends on its number
// alone, so threads may share the batches out as they like.

namespace simsmoe::cpu {

namespace {

constexpr std::int64_t kBlocks = 64;          // of one batch
constexpr std::int64_t kBatch = 4 * kBlocks;  // elements

void draw_batch(RandomKey key, std::uint64_t step, std::int64_t batch, std::uint32_t* bits) {
  const auto first = static_cast<std::uint64_t>(batch * kBlocks);
#pragma omp simd
  for (std::uint64_t b = 0; b < kBlocks; ++b) {
    const PhiloxBlock block = philox(key, step, first + b);
    for (int lane = 0; lane < 4; ++lane) bits[4 * b + static_cast<std::uint64_t>(lane)] = block.lane[lane];
  }
}

// y = x * scale where the draw is at least the threshold, else 0.
template <class T>
void drop(const T* x, const std::uint32_t* bits, std::uint32_t threshold, acc_t<T> scale, T* y,
          std::int64_t n, bool accumulate) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const acc_t<T> value = static_cast<acc_t<T>>(x[i]) * scale;
    write_grad(y[i], (bits[i] >> 8) >= threshold ? value : acc_t<T>{0}, accumulate);
  }
}

}  // namespace

void dropout_apply(const Tensor& x, GradTarget y, double p, RandomKey key, std::uint64_t step,
                   std::uint64_t first_element) {
  // Elements by their number in the whole: [first, end).
  const auto first = static_cast<std::int64_t>(first_element);
  const std::int64_t end = first + x.numel(), batches = first / kBatch;
  // uniform >= p, compared as the 24-bit integers that uniform numbers are made of
  const auto threshold = static_cast<std::uint32_t>(std::ceil(p * 0x1p24));
  for_float_dtype(x.dtype(), [&]<class T>() {
    const auto scale = static_cast<acc_t<T>>(1.0 / (1.0 - p));
    const T* in = x.data<T>();
    T* out = y.buffer.data<T>();
    parallel_for((end + kBatch - 1) / kBatch - batches, kGrain / kBatch,
                 [&](std::int64_t from, std::int64_t to) {
                   std::uint32_t bits[kBatch];
                   for (std::int64_t batch = batches + from; batch < batches + to; ++batch) {
                     draw_batch(key, step, batch, bits);
                     const std::int64_t begin = std::max(first, batch * kBatch),
                                        stop = std::min(end, (batch + 1) * kBatch);
                     if (begin < stop)
                       drop(in + begin - first, bits + begin - batch * kBatch, threshold, scale,
                            out + begin - first, stop - begin, y.accumulate);
                   }
                 });
  });
}

namespace {

// y[i] = draw(first + i), in the dtype of y
template <class Draw>
void fill(const Tensor& y, std::uint64_t first, const Draw& draw) {
  for_float_dtype(y.dtype(), [&]<class T>() {
    T* out = y.data<T>();
    parallel_elements(y.numel(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        out[i] = converted<T>(draw(first + static_cast<std::uint64_t>(i)));
    });
  });
}

}  // namespace

void uniform_fill(const Tensor& y, RandomKey key, std::uint64_t step, std::uint64_t first) {
  fill(y, first, [&](std::uint64_t i) { return random_uniform(key, step, i); });
}

void normal_fill(const Tensor& y, RandomKey key, std::uint64_t step, std::uint64_t first) {
  fill(y, first, [&](std::uint64_t i) { return random_normal(key, step, i); });
}

}  // namespace simsmoe::cpu
