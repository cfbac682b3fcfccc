// Each initialiser is a closure over its numbers; generate() draws in f64 and rounds once.

#include "nn/init.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace simsmoe::nn::init {

namespace {

constexpr std::uint64_t kStep = 0;  // initialisation is one draw, before any step

template <class F>
Tensor generate(const Shape& shape, DType dtype, const F& value_of) {
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = value_of(i);
  return Tensor::from(values, shape).to(dtype);
}

// Makes the `count` vectors of length `size` orthonormal, in order. Each is projected twice: once leaves
// rounding errors of the size of the lost digits.
void orthonormalise(std::vector<double>& vectors, std::size_t count, std::size_t size) {
  for (std::size_t i = 0; i < count; ++i) {
    double* v = &vectors[i * size];
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t j = 0; j < i; ++j) {
        const double* u = &vectors[j * size];
        double dot = 0.0;
        for (std::size_t c = 0; c < size; ++c) dot += u[c] * v[c];
        for (std::size_t c = 0; c < size; ++c) v[c] -= dot * u[c];
      }
    }
    double norm = 0.0;
    for (std::size_t c = 0; c < size; ++c) norm += v[c] * v[c];
    norm = std::sqrt(norm);
    for (std::size_t c = 0; c < size; ++c) v[c] /= norm;
  }
}

}  // namespace

Init constant(double value) {
  return [value](const Shape& shape, DType dtype, RandomKey) { return Tensor::full(shape, value, dtype); };
}

Init zeros() { return constant(0.0); }

Init ones() { return constant(1.0); }

Init normal(double std) {
  return [std](const Shape& shape, DType dtype, RandomKey key) {
    return generate(shape, dtype, [&](std::size_t i) { return std * random_normal(key, kStep, i); });
  };
}

Init uniform(double bound) {
  return [bound](const Shape& shape, DType dtype, RandomKey key) {
    return generate(shape, dtype, [&](std::size_t i) {
      return bound * (2.0 * static_cast<double>(random_uniform(key, kStep, i)) - 1.0);
    });
  };
}

Init kaiming_uniform(std::int64_t fan_in) {
  SMX_CHECK(fan_in > 0, "[init] expected a positive fan_in, got {}", fan_in);
  return uniform(1.0 / std::sqrt(static_cast<double>(fan_in)));
}

Init orthogonal(double gain) {
  return [gain](const Shape& shape, DType dtype, RandomKey key) {
    SMX_CHECK(shape.rank() >= 2, "[init] orthogonal needs a matrix, got {}", shape);
    const auto rows = static_cast<std::size_t>(shape.outer(-1)),
               columns = static_cast<std::size_t>(shape[-1]);
    const std::size_t count = std::min(rows, columns), size = std::max(rows, columns);
    std::vector<double> vectors(count * size);
    for (std::size_t i = 0; i < vectors.size(); ++i) vectors[i] = random_normal(key, kStep, i);
    orthonormalise(vectors, count, size);
    const bool by_rows = rows <= columns;
    return generate(shape, dtype, [&](std::size_t i) {
      const std::size_t row = i / columns, column = i % columns;
      return gain * (by_rows ? vectors[row * size + column] : vectors[column * size + row]);
    });
  };
}

Init linear(std::int64_t fan_in, double std) { return std > 0.0 ? normal(std) : kaiming_uniform(fan_in); }

double residual_std(double std, std::int64_t sublayers) {
  return std / std::sqrt(static_cast<double>(sublayers));
}

}  // namespace simsmoe::nn::init
