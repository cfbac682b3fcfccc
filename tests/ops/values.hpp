#pragma once
// What the tests of exact values share: tensors from literals, and back.

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "engine/tape.hpp"

namespace simsmoe::testing {

using Doubles = std::vector<double>;
using Ints = std::vector<std::int32_t>;
using Longs = std::vector<std::int64_t>;
using Bytes = std::vector<std::uint8_t>;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

inline Tensor tensor(const Doubles& values, Shape shape, DType dtype = DType::f64) {
  return Tensor::from(values, shape).to(dtype);
}
inline Tensor tensor(const Doubles& values) { return tensor(values, {std::ssize(values)}); }
inline Tensor longs(const Longs& values, Shape shape) { return Tensor::from(values, shape); }

// A leaf that wants a gradient.
inline Variable leaf(const Doubles& values, Shape shape, DType dtype = DType::f64) {
  return Variable(tensor(values, shape, dtype), true);
}
inline Variable leaf(const Doubles& values) { return leaf(values, {std::ssize(values)}); }

inline Doubles values_of(const Tensor& x) { return x.to_vector<double>(); }
inline Doubles values_of(const Variable& x) { return values_of(x.value()); }

// 0, 1, 2, ... in a shape: every element tells where it came from.
inline Doubles counting(const Shape& shape) {
  Doubles values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  return values;
}

// Element for element, NaN like NaN.
inline bool same(const Doubles& a, const Doubles& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

// What arrives at x when dy (ones by default) arrives at f(x).
inline Doubles gradient(const std::function<Variable()>& f, const Variable& x, const Doubles& dy = {}) {
  x.clear_grad();
  Tape tape;
  const Variable y = f();
  tape.backward(y, dy.empty() ? Tensor::full(y.shape(), 1.0, y.dtype()) : tensor(dy, y.shape(), y.dtype()));
  return values_of(x.grad());
}

}  // namespace simsmoe::testing
