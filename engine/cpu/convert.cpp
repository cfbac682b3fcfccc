#include "engine/convert.hpp"

#include "engine/parallel_for.hpp"

namespace simsmoe::cpu {

namespace {

constexpr std::int64_t kGrain = 1 << 14;

}  // namespace

void convert(const Tensor& x, const Tensor& y) {
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

void add_into(const Tensor& x, const Tensor& y) {
  for_float_dtype(y.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T* in = x.data<T>();
    T* out = y.data<T>();
    parallel_for(x.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        out[i] = static_cast<T>(static_cast<A>(out[i]) + static_cast<A>(in[i]));
    });
  });
}

}  // namespace simsmoe::cpu
