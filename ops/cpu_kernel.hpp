#pragma once
// What the CPU kernels share: how a gradient is written, and how rows are handed to the cores.

#include <type_traits>

#include "engine/parallel_for.hpp"
#include "engine/tape.hpp"

namespace simsmoe::cpu {

// Overwrites or adds, as the GradTarget asks. T is the stored type, the value comes in acc_t<T>.
template <class T>
inline void write_grad(T& slot, acc_t<T> value, bool accumulate) {
  slot = static_cast<T>(accumulate ? static_cast<acc_t<T>>(slot) + value : value);
}

// f(std::true_type) or f(std::false_type): decides a flag, such as accumulate, before a loop instead of
// inside it. Around a heavy body (exp) compilers do not do so themselves, and then leave the loop scalar.
template <class F>
void decide(bool flag, const F& f) {
  flag ? f(std::true_type{}) : f(std::false_type{});
}

// Elements that are worth one thread's while; below it a loop stays on the calling thread.
inline constexpr std::int64_t kGrain = 1 << 14;

// f(row) for every row of [rows, n], in parallel when there is enough to do. Rows must be independent.
template <class F>
void parallel_rows(std::int64_t rows, std::int64_t n, const F& f) {
  const std::int64_t grain = n >= kGrain ? 1 : kGrain / (n > 0 ? n : 1);
  parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) f(row);
  });
}

// f(begin, end) over the elements of [0, n), in parallel when there is enough to do.
template <class F>
void parallel_elements(std::int64_t n, const F& f) {
  parallel_for(n, kGrain, f);
}

}  // namespace simsmoe::cpu
