#include "engine/convert.hpp"

#include "engine/parallel_for.hpp"

namespace simsmoe::cpu {

void convert(const Tensor& x, const Tensor& y) {
  constexpr std::int64_t kGrain = 1 << 14;
  for_dtype(x.dtype(), [&]<class From>() {
    for_dtype(y.dtype(), [&]<class To>() {
      const From* in = x.data<From>();
      To* out = y.data<To>();
      parallel_for(x.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) out[i] = converted<To>(in[i]);
      });
    });
  });
}

}  // namespace simsmoe::cpu
