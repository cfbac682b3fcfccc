#include "ops/compare.hpp"
#include "ops/cpu_broadcast.hpp"

// The loops of cpu_broadcast.hpp over masks.

namespace simsmoe::cpu {

namespace {

template <class F>
void for_comparison(Comparison comparison, const F& f) {
  switch (comparison) {
    case Comparison::less:
      return f([](auto a, auto b) { return a < b; });
    case Comparison::less_equal:
      return f([](auto a, auto b) { return a <= b; });
    case Comparison::equal:
      return f([](auto a, auto b) { return a == b; });
    case Comparison::not_equal:
      return f([](auto a, auto b) { return a != b; });
  }
}

// What arrives at the elements of y that were taken from one operand.
template <class T, Operand operand>
struct Chosen {
  const std::uint8_t* mask;
  const T* dy;
  template <class StepA, class StepB>
  acc_t<T> at(std::int64_t, std::int64_t, std::int64_t i, StepA, StepB, std::int64_t j) const {
    const bool chosen = (mask[i + j] != 0) == (operand == Operand::a);
    return chosen ? static_cast<acc_t<T>>(dy[i + j]) : acc_t<T>{0};
  }
};

}  // namespace

void compare(Comparison comparison, const Tensor& a, const Tensor& b, const Tensor& mask) {
  const BroadcastPlan plan = broadcast_plan(a.shape(), b.shape(), mask.shape());
  std::uint8_t* out = mask.data<std::uint8_t>();
  for_dtype(a.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const T *left = a.data<T>(), *right = b.data<T>();
    for_comparison(comparison, [&](auto holds) {
      for_steps(plan.inner(), [&](auto step_a, auto step_b) {
        constexpr int kStepA = decltype(step_a)::value, kStepB = decltype(step_b)::value;
        parallel_elements(plan.numel, [&](std::int64_t begin, std::int64_t end) {
          for_each_run(
              plan, begin, end, [=](std::int64_t i_a, std::int64_t i_b, std::int64_t i, std::int64_t length) {
                for (std::int64_t j = 0; j < length; ++j)
                  out[i + j] =
                      holds(static_cast<A>(left[i_a + j * kStepA]), static_cast<A>(right[i_b + j * kStepB]));
              });
        });
      });
    });
  });
}

void where_forward(const Tensor& mask, const Tensor& a, const Tensor& b, const Tensor& y) {
  const BroadcastPlan plan = broadcast_plan(a.shape(), b.shape(), y.shape());
  const std::uint8_t* choice = mask.data<std::uint8_t>();
  for_float_dtype(y.dtype(), [&]<class T>() {
    const T *left = a.data<T>(), *right = b.data<T>();
    T* out = y.data<T>();
    for_steps(plan.inner(), [&](auto step_a, auto step_b) {
      constexpr int kStepA = decltype(step_a)::value, kStepB = decltype(step_b)::value;
      parallel_elements(plan.numel, [&](std::int64_t begin, std::int64_t end) {
        for_each_run(plan, begin, end,
                     [=](std::int64_t i_a, std::int64_t i_b, std::int64_t i, std::int64_t length) {
                       for (std::int64_t j = 0; j < length; ++j)
                         out[i + j] = choice[i + j] != 0 ? left[i_a + j * kStepA] : right[i_b + j * kStepB];
                     });
      });
    });
  });
}

void where_backward(const Tensor& mask, Operand operand, const BroadcastPlan& plan, const Tensor& dy,
                    GradTarget target) {
  const std::uint8_t* choice = mask.data<std::uint8_t>();
  for_float_dtype(dy.dtype(), [&]<class T>() {
    const T* upstream = dy.data<T>();
    if (operand == Operand::a)
      gather_contributions<T, Operand::a>(plan, Chosen<T, Operand::a>{choice, upstream}, target);
    else
      gather_contributions<T, Operand::b>(plan, Chosen<T, Operand::b>{choice, upstream}, target);
  });
}

}  // namespace simsmoe::cpu
