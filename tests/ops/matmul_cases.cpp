#include "ops/matmul.hpp"

#include <algorithm>

#include "tests/support/op_case.hpp"

// All layouts, batches, sums over batches, empty sides, experts of every size.

namespace simsmoe::testing {

namespace {

Tensor offsets(const std::vector<std::int64_t>& values) { return Tensor::from(values, {std::ssize(values)}); }

// Cases of grouped_matmul with and without a bias. x: [n, in], weight: [E, out, in].
void add_grouped(const std::string& name, std::int64_t in, std::int64_t out,
                 std::vector<std::int64_t> bounds) {
  const std::int64_t n = bounds.back(), experts = std::ssize(bounds) - 1;
  add("grouped_matmul", name, {rand({n, in}), rand({experts, out, in})}, [bounds](const Variables& x) {
    return ops::grouped_matmul(x[0], x[1], offsets(bounds));
  }).zero_gradient = n == 0;
  add("grouped_matmul", name + ", bias",
      {rand({n, in}), rand({experts, out, in}), optional(rand({experts, out}))},
      [bounds](const Variables& x) { return ops::grouped_matmul(x[0], x[1], offsets(bounds), x[2]); })
      .zero_gradient = n == 0;
}

// Leading axes that broadcast, and vectors, in every layout that there is.
void add_broadcast() {
  struct Leading {
    const char* name;
    std::vector<std::int64_t> a, b;
  };
  const Leading all[] = {
      {"shared a", {}, {3}},
      {"1 with 3", {1}, {3}},
      {"3 with 1", {3}, {1}},
      {"crosswise", {2, 1}, {3}},
      {"crosswise, three axes", {2, 1, 2}, {1, 3, 1}},
      {"longer b", {3}, {2, 3}},
      {"none of 2", {2, 1}, {0}},
      {"all ones", {1, 1}, {1}},
  };
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      const std::string layout = std::string(ta ? "T" : "N") + (tb ? "T " : "N ");
      const auto run = [ta, tb](const Variables& x) { return ops::matmul(x[0], x[1], {ta, tb}); };
      const auto with = [](Shape shape, std::int64_t rows, std::int64_t columns, bool transposed) {
        return transposed ? shape.append(columns).append(rows) : shape.append(rows).append(columns);
      };
      for (const Leading& l : all)
        add("matmul", layout + l.name, {rand(with(Shape(l.a), 4, 2, ta)), rand(with(Shape(l.b), 2, 5, tb))},
            run)
            .zero_gradient = std::ranges::count(l.b, 0) > 0;
      add("matmul", layout + "vector and matrix", {rand({4}), rand(with({}, 4, 3, tb))}, run);
      add("matmul", layout + "matrix and vector", {rand(with({}, 3, 4, ta)), rand({4})}, run);
      add("matmul", layout + "vector and batches", {rand({4}), rand(with({2, 3}, 4, 3, tb))}, run);
      add("matmul", layout + "batches and vector", {rand(with({2, 3}, 3, 4, ta)), rand({4})}, run);
      add("matmul", layout + "two vectors", {rand({4}), rand({4})}, run);
    }
}

void add_matmul() {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      const std::string layout = std::string(ta ? "T" : "N") + (tb ? "T" : "N");
      const auto run = [ta, tb](const Variables& x) { return ops::matmul(x[0], x[1], {ta, tb}); };
      const auto a = [ta](std::int64_t m, std::int64_t k) { return ta ? Shape{k, m} : Shape{m, k}; };
      const auto b = [tb](std::int64_t k, std::int64_t n) { return tb ? Shape{n, k} : Shape{k, n}; };
      const auto batch = [](std::int64_t count, const Shape& s) { return Shape{count, s[0], s[1]}; };
      add("matmul", layout + " 3x5x4", {rand(a(3, 5)), rand(b(5, 4))}, run);
      add("matmul", layout + " 1x1x1", {rand(a(1, 1)), rand(b(1, 1))}, run);
      add("matmul", layout + " square", {rand(a(6, 6)), rand(b(6, 6))}, run);
      add("matmul", layout + " batches", {rand(batch(3, a(4, 2))), rand(batch(3, b(2, 5)))}, run);
      add("matmul", layout + " shared b", {rand(batch(3, a(4, 2))), rand(b(2, 5))}, run);
      add("matmul", layout + " no batches", {rand(batch(0, a(4, 2))), rand(b(2, 5))}, run).zero_gradient =
          true;
      add("matmul", layout + " no rows", {rand(a(0, 2)), rand(b(2, 5))}, run).zero_gradient = true;
      // An empty sum: y is zero whatever the operands, which have no elements.
      add("matmul", layout + " k=0", {rand(a(3, 0)), rand(b(0, 5))}, run).zero_gradient = true;
    }
  const auto plain = [](const Variables& x) { return ops::matmul(x[0], x[1]); };
  add("matmul", "rank 4", {rand({2, 3, 2, 5}), rand({2, 3, 5, 4})}, plain);
  add_broadcast();
  add("matmul", "infinities and NaN",
      {fixed({3, 2}, {kInfinity, 0.5, 1, kNan, 0.5, 2}), fixed({2, 2}, {1, 0.5, 0.25, 2})}, plain)
      .nonfinite = true;
  add_extremes("matmul", {rand({3, 5}), rand({5, 4})}, plain);
  add("matmul", "huge and tiny", {rand({3, 5}, -1e30, 1e30), rand({5, 4}, -1e-30, 1e-30)}, plain).extreme =
      true;
  // Large enough for several threads: libraries may order a sum by where its strip begins.
  add("matmul", "130x70x150", {rand({130, 70}), rand({70, 150})}, plain).any_threads = false;
  add_error("matmul", "inner sizes", {rand({3, 5}), rand({4, 5})}, plain,
            "[matmul] expected equal inner sizes");
  add_error("matmul", "leading axes", {rand({2, 3, 5}), rand({3, 5, 4})}, plain,
            "[matmul] expected sizes that are equal or 1, aligned at the last axis, got [2] and [3]");
  add_error("matmul", "vectors", {rand({5}), rand({4})}, plain, "[matmul] expected equal inner sizes");
  add_error("matmul", "scalar", {rand({}), rand({4})}, plain,
            "[matmul] expected vectors, matrices or more axes");
  add_error("matmul", "integers", {integers({3, 5}, 0, 4), rand({5, 4})}, plain,
            "[matmul] expected a float tensor");
}

void add_linear() {
  const auto linear = [](const Variables& x) { return ops::linear(x[0], x[1]); };
  const auto biased = [](const Variables& x) { return ops::linear(x[0], x[1], x[2]); };
  add("linear", "no bias", {rand({3, 5}), rand({4, 5})}, linear);
  add("linear", "square", {rand({5, 5}), rand({5, 5})}, linear);
  add("linear", "bias", {rand({3, 5}), rand({4, 5}), optional(rand({4}))}, biased);
  add("linear", "vector", {rand({5}), rand({4, 5}), optional(rand({4}))}, biased);
  add("linear", "rank 4", {rand({2, 3, 2, 5}), rand({7, 5}), optional(rand({7}))}, biased);
  add("linear", "150 wide", {rand({9, 33}), rand({150, 33}), optional(rand({150}))}, biased);
  add("linear", "infinities and NaN",
      {fixed({3, 2}, {kInfinity, 0.5, 1, kNan, 0.5, 2}), fixed({2, 2}, {1, 0.5, 0.25, 2}),
       optional(rand({2}))},
      biased)
      .nonfinite = true;
  add("linear", "huge and tiny",
      {rand({3, 5}, -1e30, 1e30), rand({4, 5}, -1e-30, 1e-30), optional(rand({4}))}, biased)
      .extreme = true;
  add_extremes("linear", {rand({3, 5}), rand({4, 5}), optional(rand({4}))}, biased);
  add("linear", "no rows", {rand({0, 5}), rand({4, 5}), optional(rand({4}))}, biased).zero_gradient = true;
  add_error("linear", "width", {rand({3, 5}), rand({4, 6})}, linear, "[linear] expected x [..., in]");
  add_error("linear", "rank of weight", {rand({3, 5}), rand({2, 4, 5})}, linear,
            "[linear] expected x [..., in]");
  add_error("linear", "bias", {rand({3, 5}), rand({4, 5}), rand({5})}, biased, "[linear] expected bias [4]");
  add_error("linear", "integers", {integers({3, 5}, 0, 4), rand({4, 5})}, linear,
            "[linear] expected a float tensor");
}

void add_grouped_matmul() {
  add_grouped("3 experts", 4, 3, {0, 2, 3, 7});
  add_grouped("one expert", 4, 3, {0, 5});
  add_grouped("square", 4, 4, {0, 1, 4});
  add_grouped("empty experts", 4, 3, {0, 0, 3, 3, 5, 5});
  add_grouped("no rows", 4, 3, {0, 0, 0});
  add_grouped("split expert", 3, 18, {0, 270, 275});  // more rows than one thread takes at a time
  const auto with = [](std::vector<std::int64_t> bounds) {
    return [bounds](const Variables& x) { return ops::grouped_matmul(x[0], x[1], offsets(bounds)); };
  };
  const std::vector<InputSpec> inputs = {rand({5, 4}), rand({2, 3, 4})};
  add("grouped_matmul", "infinities and NaN",
      {fixed({3, 2}, {kInfinity, 0.5, 1, kNan, 0.5, 2}), fixed({2, 1, 2}, {1, 0.5, 0.25, 2})},
      with({0, 1, 3}))
      .nonfinite = true;
  add("grouped_matmul", "huge and tiny", {rand({5, 4}, -1e30, 1e30), rand({2, 3, 4}, -1e-30, 1e-30)},
      with({0, 2, 5}))
      .extreme = true;
  add_extremes("grouped_matmul", inputs, with({0, 2, 5}));
  add_error("grouped_matmul", "offsets fall", inputs, with({0, 6, 5}),
            "[grouped_matmul] expected offsets that do not decrease");
  add_error("grouped_matmul", "offsets end early", inputs, with({0, 2, 4}),
            "[grouped_matmul] expected offsets from 0 to 5");
  add_error("grouped_matmul", "offsets begin late", inputs, with({1, 2, 5}),
            "[grouped_matmul] expected offsets from 0 to 5");
  add_error("grouped_matmul", "too few offsets", inputs, with({0, 5}),
            "[grouped_matmul] expected offsets i64 [3]");
  add_error("grouped_matmul", "width", {rand({5, 3}), rand({2, 3, 4})}, with({0, 2, 5}),
            "[grouped_matmul] expected x [n, in] and weight [E, out, in]");
  add_error(
      "grouped_matmul", "bias", {rand({5, 4}), rand({2, 3, 4}), rand({2, 4})},
      [](const Variables& x) {
        return ops::grouped_matmul(x[0], x[1], offsets({0, 2, 5}), x[2]);
      },
      "[grouped_matmul] expected bias [2, 3]");
}

}  // namespace

SMX_CASES(matmul) {
  add_matmul();
  add_linear();
  add_grouped_matmul();
}

}  // namespace simsmoe::testing
