#include <limits>

#include "engine/math.hpp"
#include "ops/binary.hpp"
#include "ops/cpu_broadcast.hpp"

// Each function is a struct with its value and its two slopes; the loops are in cpu_broadcast.hpp.

namespace simsmoe::cpu {

namespace {

struct Add {
  static constexpr bool kReadsOperands = false;
  template <class A>
  static A value(A a, A b) {
    return a + b;
  }
  template <Operand, class A>
  static A slope(A, A) {
    return 1;
  }
};

struct Sub {
  static constexpr bool kReadsOperands = false;
  template <class A>
  static A value(A a, A b) {
    return a - b;
  }
  template <Operand operand, class A>
  static A slope(A, A) {
    return operand == Operand::a ? A(1) : A(-1);
  }
};

struct Mul {
  static constexpr bool kReadsOperands = true;
  template <class A>
  static A value(A a, A b) {
    return a * b;
  }
  template <Operand operand, class A>
  static A slope(A a, A b) {
    return operand == Operand::a ? b : a;
  }
};

struct Div {
  static constexpr bool kReadsOperands = true;
  template <class A>
  static A value(A a, A b) {
    return a / b;
  }
  template <Operand operand, class A>
  static A slope(A a, A b) {
    if (operand == Operand::a) return 1 / b;
    // -a / b^2, or -(a / b) / b: b^2 leaves the range of the type long before the slope does
    const A square = b * b;
    const bool in_range = square >= std::numeric_limits<A>::min() && square <= std::numeric_limits<A>::max();
    return (in_range ? -a : -(a / b)) / (in_range ? square : b);
  }
};

// A slope of 1 where the other operand loses or is NaN, 1/2 where both are equal.
struct Maximum {
  static constexpr bool kReadsOperands = true;
  template <class A>
  static A value(A a, A b) {
    return math::maximum(a, b);
  }
  template <Operand operand, class A>
  static A slope(A a, A b) {
    const bool loses = operand == Operand::a ? a < b : b < a;
    return loses ? A(0) : (a == b ? A(0.5) : A(1));
  }
};

struct Minimum {
  static constexpr bool kReadsOperands = true;
  template <class A>
  static A value(A a, A b) {
    return math::minimum(a, b);
  }
  template <Operand operand, class A>
  static A slope(A a, A b) {
    const bool loses = operand == Operand::a ? a > b : b > a;
    return loses ? A(0) : (a == b ? A(0.5) : A(1));
  }
};

template <class F>
void for_function(BinaryFunction function, const F& f) {
  switch (function) {
    case BinaryFunction::add:
      return f(Add{});
    case BinaryFunction::sub:
      return f(Sub{});
    case BinaryFunction::mul:
      return f(Mul{});
    case BinaryFunction::div:
      return f(Div{});
    case BinaryFunction::maximum:
      return f(Maximum{});
    case BinaryFunction::minimum:
      return f(Minimum{});
  }
}

// The contributions of the elements of y to one operand's gradient: dy[i] * slope(a[i], b[i]).
template <class T, class Function, Operand operand>
struct Contribution {
  const T* a;
  const T* b;
  const T* dy;
  template <class StepA, class StepB>
  acc_t<T> at(std::int64_t i_a, std::int64_t i_b, std::int64_t i, StepA, StepB, std::int64_t j) const {
    using A = acc_t<T>;
    const A upstream = static_cast<A>(dy[i + j]);
    if constexpr (Function::kReadsOperands)
      return upstream * Function::template slope<operand>(static_cast<A>(a[i_a + j * StepA::value]),
                                                          static_cast<A>(b[i_b + j * StepB::value]));
    else
      return upstream * Function::template slope<operand>(A(0), A(0));
  }
};

template <class T, class Function, Operand operand>
void backward(const BroadcastPlan& plan, const Tensor& a, const Tensor& b, const Tensor& dy,
              GradTarget target) {
  Contribution<T, Function, operand> from{nullptr, nullptr, dy.data<T>()};
  if constexpr (Function::kReadsOperands) {
    from.a = a.data<T>();
    from.b = b.data<T>();
  }
  gather_contributions<T, operand>(plan, from, target);
}

}  // namespace

void binary_forward(BinaryFunction function, const Tensor& a, const Tensor& b, const Tensor& y) {
  const BroadcastPlan plan = broadcast_plan(a.shape(), b.shape(), y.shape());
  for_float_dtype(y.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    for_function(function, [&]<class Function>(Function) {
      for_steps(plan.inner(), [&](auto step_a, auto step_b) {
        constexpr int kStepA = decltype(step_a)::value, kStepB = decltype(step_b)::value;
        parallel_elements(plan.numel, [&](std::int64_t begin, std::int64_t end) {
          for_each_run(
              plan, begin, end, [&](std::int64_t i_a, std::int64_t i_b, std::int64_t i, std::int64_t length) {
                const T* left = a.data<T>() + i_a;
                const T* right = b.data<T>() + i_b;
                T* out = y.data<T>() + i;
                for (std::int64_t j = 0; j < length; ++j)
                  out[j] = static_cast<T>(
                      Function::value(static_cast<A>(left[j * kStepA]), static_cast<A>(right[j * kStepB])));
              });
        });
      });
    });
  });
}

void binary_backward(BinaryFunction function, Operand operand, const BroadcastPlan& plan, const Tensor& a,
                     const Tensor& b, const Tensor& dy, GradTarget target) {
  for_float_dtype(dy.dtype(), [&]<class T>() {
    for_function(function, [&]<class Function>(Function) {
      if (operand == Operand::a)
        backward<T, Function, Operand::a>(plan, a, b, dy, target);
      else
        backward<T, Function, Operand::b>(plan, a, b, dy, target);
    });
  });
}

}  // namespace simsmoe::cpu
