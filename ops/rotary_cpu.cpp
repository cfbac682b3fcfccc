#include <cmath>
#include <vector>

#include "ops/cpu_kernel.hpp"
#include "ops/rotary.hpp"

// The angles of all positions first, then one thread owns a position of a sequence.

namespace simsmoe::cpu {

namespace {

// cos and sin of each position's C/2 angles. In f64: a large position leaves f32 no digits.
template <class A>
struct Angles {
  Angles(std::int64_t positions, std::int64_t pairs) : half(pairs) {
    cosines.resize(static_cast<std::size_t>(positions * pairs));
    sines.resize(cosines.size());
  }
  void fill(std::int64_t t, double position, double base, int direction) {
    for (std::int64_t c = 0; c < half; ++c) {
      const double angle =
          position * std::pow(base, -2.0 * static_cast<double>(c) / static_cast<double>(2 * half));
      cosines[static_cast<std::size_t>(t * half + c)] = static_cast<A>(std::cos(angle));
      sines[static_cast<std::size_t>(t * half + c)] = static_cast<A>(direction * std::sin(angle));
    }
  }

  std::int64_t half;
  std::vector<A> cosines, sines;  // [T, C / 2]
};

// The heads of one position. from, to: [heads, C]
template <class T, class A>
void turn(const T* from, T* to, std::int64_t heads, std::int64_t half, const A* cosine, const A* sine,
          bool accumulate) {
  for (std::int64_t h = 0; h < heads; ++h, from += 2 * half, to += 2 * half)
    for (std::int64_t c = 0; c < half; ++c) {
      const A u = from[c], v = from[c + half];
      write_grad(to[c], u * cosine[c] - v * sine[c], accumulate);
      write_grad(to[c + half], u * sine[c] + v * cosine[c], accumulate);
    }
}

template <class T>
void pass(const T* from, T* to, std::int64_t n, bool accumulate) {
  for (std::int64_t c = 0; c < n; ++c) write_grad(to[c], static_cast<acc_t<T>>(from[c]), accumulate);
}

}  // namespace

void rotary_turn(const HeadSlice& x, std::int64_t first_position, double base, int direction, GradTarget y) {
  const std::int64_t T = x.length(), C = x.width(), stride = x.stride();
  const std::int64_t before = x.first * C, turned = x.count * C;
  for_float_dtype(x.x.dtype(), [&]<class S>() {
    using A = acc_t<S>;
    Angles<A> angles(T, C / 2);
    parallel_rows(T, 50 * C / 2, [&](std::int64_t t) {
      angles.fill(t, static_cast<double>(first_position + t), base, direction);
    });
    parallel_rows(x.batch() * T, stride, [&](std::int64_t row) {
      const S* from = x.x.data<S>() + row * stride;
      S* to = y.buffer.data<S>() + row * stride;
      const std::int64_t angle = row % T * (C / 2);
      pass(from, to, before, y.accumulate);
      turn(from + before, to + before, x.count, C / 2, angles.cosines.data() + angle,
           angles.sines.data() + angle, y.accumulate);
      pass(from + before + turned, to + before + turned, stride - before - turned, y.accumulate);
    });
  });
}

}  // namespace simsmoe::cpu
