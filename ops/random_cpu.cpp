#include <algorithm>
#include <cmath>

#include "ops/cpu_kernel.hpp"
#include "ops/random.hpp"

namespace simsmoe::cpu {

// Threads take whole Philox blocks of four elements, so that no block is computed twice.
void dropout_apply(const Tensor& x, GradTarget y, double p, RandomKey key, std::uint64_t step) {
  const std::int64_t n = x.numel();
  const auto threshold =
      static_cast<std::uint32_t>(std::ceil(p * 0x1p24));  // uniform >= p, in 24-bit integers
  for_float_dtype(x.dtype(), [&]<class T>() {
    const auto scale = static_cast<acc_t<T>>(1.0 / (1.0 - p));
    const T* in = x.data<T>();
    T* out = y.buffer.data<T>();
    parallel_for((n + 3) / 4, kGrain / 4, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t block = begin; block < end; ++block) {
        const PhiloxBlock bits = philox(key, step, static_cast<std::uint64_t>(block));
        const std::int64_t lanes = std::min<std::int64_t>(4, n - 4 * block);
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
          const std::int64_t i = 4 * block + lane;
          const acc_t<T> kept =
              (bits.lane[lane] >> 8) >= threshold ? static_cast<acc_t<T>>(in[i]) * scale : acc_t<T>{0};
          write_grad(out[i], kept, y.accumulate);
        }
      }
    });
  });
}

}  // namespace simsmoe::cpu
