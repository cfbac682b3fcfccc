#pragma once
// How the CPU kernels walk over operands that broadcast (broadcast.hpp). Elements of y are visited in order,
// as runs along the plan's innermost axis: a run is a plain loop in vector lanes. For equal shapes there is
// one run; for [N, D] with [D] one per row.
//
// Sums over repeated axes are done in pieces that depend on the shapes alone and are added in order, so the
// result has the same bits for any number of threads.

#include <algorithm>
#include <vector>

#include "ops/broadcast.hpp"
#include "ops/cpu_kernel.hpp"

namespace simsmoe::cpu {

// f(offset in a, offset in b, offset in y, length) for the runs that make up elements [begin, end) of y.
template <class F>
void for_each_run(const BroadcastPlan& plan, std::int64_t begin, std::int64_t end, const F& f) {
  const std::int64_t inner = plan.inner().size;
  while (begin < end) {
    std::int64_t row = begin / inner;
    const std::int64_t column = begin % inner, length = std::min(inner - column, end - begin);
    std::int64_t a = column * plan.inner().a, b = column * plan.inner().b;
    for (int i = plan.count - 2; i >= 0; --i) {
      const BroadcastAxis& axis = plan.axes[static_cast<std::size_t>(i)];
      const std::int64_t index = row % axis.size;
      a += index * axis.a;
      b += index * axis.b;
      row /= axis.size;
    }
    f(a, b, begin, length);
    begin += length;
  }
}

// f(step of a, step of b) with steps known to the compiler: a run in which an operand stays reads it once.
template <class F>
void for_steps(const BroadcastAxis& axis, const F& f) {
  using One = std::integral_constant<int, 1>;
  using Zero = std::integral_constant<int, 0>;
  if (axis.a == 0 && axis.b == 0)
    f(Zero{}, Zero{});
  else if (axis.a == 0)
    f(Zero{}, One{});
  else if (axis.b == 0)
    f(One{}, Zero{});
  else
    f(One{}, One{});
}

// A gradient of an operand of y comes from an object with
//   acc_t<T> at(offset in a, offset in b, offset in y, step of a, step of b, j)
// which is the contribution of element j of a run.

// The operand has an element for each of y: no sums.
template <class T, class C>
void write_contributions(const BroadcastPlan& plan, const C& from, GradTarget target) {
  T* out = target.buffer.data<T>();
  for_steps(plan.inner(), [&](auto step_a, auto step_b) {
    decide(target.accumulate, [&](auto accumulate) {
      parallel_elements(plan.numel, [&](std::int64_t begin, std::int64_t end) {
        for_each_run(plan, begin, end,
                     [=](std::int64_t a, std::int64_t b, std::int64_t i, std::int64_t length) {
                       for (std::int64_t j = 0; j < length; ++j)
                         write_grad(out[i + j], from.at(a, b, i, step_a, step_b, j), accumulate);
                     });
      });
    });
  });
}

// The operand repeats along some axis. Each piece of y sums into a buffer of its own; at most kPieces.
template <class T, Operand operand, class C>
void sum_contributions(const BroadcastPlan& plan, const C& from, GradTarget target) {
  using A = acc_t<T>;
  constexpr std::int64_t kPieces = 16;
  const std::int64_t size = target.buffer.numel();
  const std::int64_t pieces = std::clamp<std::int64_t>(plan.numel / std::max(kGrain, size), 1, kPieces);
  std::vector<A> sums(static_cast<std::size_t>(pieces * size), A(0));
  for_steps(plan.inner(), [&](auto step_a, auto step_b) {
    constexpr bool advances =
        (operand == Operand::a ? decltype(step_a)::value : decltype(step_b)::value) == 1;
    parallel_for(pieces, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t piece = first; piece < last; ++piece)
        for_each_run(plan, plan.numel * piece / pieces, plan.numel * (piece + 1) / pieces,
                     [&](std::int64_t a, std::int64_t b, std::int64_t i, std::int64_t length) {
                       A* sum = sums.data() + piece * size + (operand == Operand::a ? a : b);
                       if constexpr (advances) {
                         for (std::int64_t j = 0; j < length; ++j)
                           sum[j] += from.at(a, b, i, step_a, step_b, j);
                       } else {
                         A total = 0;
#pragma omp simd reduction(+ : total)
                         for (std::int64_t j = 0; j < length; ++j)
                           total += from.at(a, b, i, step_a, step_b, j);
                         *sum += total;
                       }
                     });
    });
  });
  T* out = target.buffer.data<T>();
  parallel_elements(size, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      A total = 0;
      for (std::int64_t piece = 0; piece < pieces; ++piece)
        total += sums[static_cast<std::size_t>(piece * size + i)];
      write_grad(out[i], total, target.accumulate);
    }
  });
}

inline bool repeats(const BroadcastPlan& plan, Operand operand) {
  return std::any_of(plan.axes.begin(), plan.axes.begin() + plan.count, [&](const BroadcastAxis& axis) {
    return (operand == Operand::a ? axis.a : axis.b) == 0;
  });
}

// dx = the sum of the contributions to each of its elements.
template <class T, Operand operand, class C>
void gather_contributions(const BroadcastPlan& plan, const C& from, GradTarget target) {
  if (repeats(plan, operand))
    sum_contributions<T, operand>(plan, from, target);
  else
    write_contributions<T>(plan, from, target);
}

}  // namespace simsmoe::cpu
