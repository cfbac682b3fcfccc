// CKA against numbers that were computed apart from this code, its limits, its symmetries and its gradient.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "moe/cka.hpp"
#include "moe/expert_cka.hpp"
#include "ops/unary.hpp"
#include "tests/moe/fixture.hpp"
#include "tests/support/gradcheck.hpp"

namespace simsmoe::moe {

namespace {

constexpr CkaOptions kLinear{.kernel = CkaKernel::linear};
constexpr CkaOptions kRbf{.kernel = CkaKernel::rbf, .sigma = 0.8};

CkaOptions debiased(CkaOptions options) {
  options.debiased = true;
  return options;
}

// X[i][j] = sin(0.7 (i + 1)(j + 1)), Y[i][j] = cos(0.5 (i + 1) + 0.9 j) for i < 6, j < 3
struct Golden {
  Variable x, y;

  Golden() {
    std::vector<double> xs, ys;
    for (int i = 0; i < 6; ++i)
      for (int j = 0; j < 3; ++j) {
        xs.push_back(std::sin(0.7 * (i + 1) * (j + 1)));
        ys.push_back(std::cos(0.5 * (i + 1) + 0.9 * j));
      }
    x = Variable(Tensor::from(xs, {6, 3}), true, "x");
    y = Variable(Tensor::from(ys, {6, 3}), true, "y");
  }
};

double item(const Variable& value) { return value.value().item(); }
double close(double expected) { return std::abs(expected) * 1e-9 + 1e-10; }

void check_hsic(const Hsic& h, double xy, double xx, double yy) {
  CHECK(std::abs(item(h.xy) - xy) < close(xy));
  CHECK(std::abs(item(h.xx) - xx) < close(xx));
  CHECK(std::abs(item(h.yy) - yy) < close(yy));
}

// Independent standard normal rows.
Variable noise(std::int64_t n, std::int64_t p, std::string_view name, double size = 1.0) {
  std::vector<double> values(static_cast<std::size_t>(n * p));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = size * random_normal({5, stream_of(name)}, 0, i);
  return Variable(Tensor::from(values, {n, p}));
}

}  // namespace

TEST_CASE("golden values of both kernels and both estimators") {
  const Golden g;
  check_hsic(hsic(g.x, g.y, kLinear), 10.4408763255, 30.2866462206, 15.4571100870);
  check_hsic(hsic(g.x, g.y, kRbf), 3.1570983594, 4.4150383356, 3.9604178307);
  check_hsic(hsic(g.x, g.y, debiased(kLinear)), 0.1228376394, 0.8103047963, 0.4989232619);
  check_hsic(hsic(g.x, g.y, debiased(kRbf)), 0.0216880811, 0.0279991596, 0.1023511903);
  CHECK(std::abs(item(cka(g.x, g.y, kLinear).value) - 0.482555432507) < 1e-9);
  CHECK(std::abs(item(cka(g.x, g.y, kRbf).value) - 0.755005941894) < 1e-9);
  CHECK(std::abs(item(cka(g.x, g.y, debiased(kLinear)).value) - 0.1931925525) < 1e-9);
  CHECK(std::abs(item(cka(g.x, g.y, debiased(kRbf)).value) - 0.4051372553) < 1e-9);
}

TEST_CASE("golden gradient of the first row") {
  const double linear[] = {0.269209111, 0.013415656, 0.013520686};
  const double rbf[] = {0.038450908, 0.027962420, -0.015682442};
  for (const auto& [options, expected] : {std::pair{kLinear, linear}, std::pair{kRbf, rbf}}) {
    const Golden g;
    Tape tape;
    tape.backward(cka(g.x, g.y, options).value);
    for (std::size_t j = 0; j < 3; ++j)
      CHECK(std::abs(g.x.grad().host<const double>()[j] - expected[j]) < 1e-9);
  }
}

TEST_CASE("numeric gradient of every kernel and estimator, more rows than columns and fewer") {
  for (const std::int64_t n : {6, 12})
    for (const double sigma : {0.0, 2.0, 0.6})  // 0: the linear kernel
      for (const bool unbiased : {false, true}) {
        const CkaKernel kernel = sigma > 0.0 ? CkaKernel::rbf : CkaKernel::linear;
        CAPTURE(n);
        CAPTURE(sigma);
        CAPTURE(unbiased);
        const Variable x(draw({n, 8}, "x"), true, "x"), y(draw({n, 5}, "y"), true, "y");
        const CkaOptions options{.kernel = kernel, .sigma = sigma, .debiased = unbiased};
        const auto report = testing::gradcheck([&] { return cka(x, y, options).value; }, {x, y});
        CHECK_MESSAGE(report.passed, report.to_string());
      }
}

TEST_CASE("the feature form and the Gram form of linear CKA agree") {
  const Variable x = noise(40, 7, "x"), y = noise(40, 9, "y"), wide = noise(40, 60, "wide");
  const double by_features = item(cka(x, y, kLinear).value);
  // One side wider than n forces Gram matrices; zeros in the further columns change nothing.
  std::vector<double> padded(40 * 50, 0.0);
  const std::vector<double> narrow = y.value().to_vector<double>();
  for (std::size_t i = 0; i < 40; ++i) std::copy_n(&narrow[i * 9], 9, &padded[i * 50]);
  const Cka by_gram = cka(x, Variable(Tensor::from(padded, {40, 50})), kLinear);
  CHECK(std::abs(by_features - item(by_gram.value)) < 1e-12);
  CHECK(!by_gram.mean_kernel.defined());
  CHECK(item(cka(x, wide, kLinear).value) > 0.0);
}

TEST_CASE("CKA is 1 for the same representation, whatever its rotation, scale and place") {
  const Variable x = noise(20, 3, "x");
  const std::vector<double> v = x.value().to_vector<double>();
  std::vector<double> moved;
  for (std::size_t i = 0; i < v.size(); i += 3) {
    const double c = std::cos(1.0), s = std::sin(1.0);
    moved.insert(moved.end(), {4.0 * (c * v[i] - s * v[i + 1]) + 7.0, 4.0 * (s * v[i] + c * v[i + 1]) - 2.0,
                               4.0 * v[i + 2]});
  }
  const Variable y(Tensor::from(moved, {20, 3}));
  for (const CkaKernel kernel : {CkaKernel::linear, CkaKernel::rbf_median})
    for (const bool unbiased : {false, true})
      CHECK(std::abs(item(cka(x, y, {.kernel = kernel, .debiased = unbiased}).value) - 1.0) < 1e-9);
}

TEST_CASE("what independent data score: the plain estimator is inflated, a narrow kernel saturates") {
  const auto mean_of = [](std::int64_t n, const CkaOptions& options) {
    double sum = 0.0;
    for (int i = 0; i < 50; ++i)
      sum +=
          item(cka(noise(n, 16, fmt::format("a{}", i)), noise(n, 16, fmt::format("b{}", i)), options).value);
    return sum / 50.0;
  };
  CHECK(mean_of(16, kLinear) == doctest::Approx(0.50).epsilon(0.05));
  CHECK(mean_of(64, kLinear) == doctest::Approx(0.20).epsilon(0.05));
  CHECK(std::abs(mean_of(64, debiased(kLinear))) < 0.02);
  CHECK(mean_of(16, kRbf) > 0.999);
  const Cka narrow = cka(noise(16, 16, "a0"), noise(16, 16, "b0"), kRbf);
  CHECK(narrow.mean_kernel.item() < 1e-3);  // the sign of it
}

TEST_CASE("distances far below the bandwidth keep their digits in f32, too") {
  const Variable x = noise(30, 16, "x", 3e-4), y = noise(30, 16, "y", 3e-4);
  const double exact = item(cka(x, y, kRbf).value);
  CHECK(exact == doctest::Approx(item(cka(x, y, kLinear).value)).epsilon(1e-4));  // its limit
  const Variable x32(x.value().to(DType::f32)), y32(y.value().to(DType::f32));
  CHECK(item(cka(x32, y32, kRbf).value) == doctest::Approx(exact).epsilon(1e-6));
}

TEST_CASE("CKA is undefined where nothing varies or items are too few, and misuse explains itself") {
  const Variable x = noise(8, 3, "x"), constant(Tensor::full({8, 3}, 2.0, DType::f64));
  for (const CkaOptions& options :
       {kLinear, kRbf, debiased(kLinear), CkaOptions{.kernel = CkaKernel::rbf_median}})
    CHECK_FALSE(cka(x, constant, options).value.defined());
  CHECK_FALSE(cka(noise(3, 3, "x"), noise(3, 3, "y"), debiased(kLinear)).value.defined());
  CHECK_FALSE(cka(noise(1, 3, "x"), noise(1, 3, "y"), kLinear).value.defined());
  CHECK_THROWS_WITH_AS(hsic(x, noise(7, 3, "y"), kLinear), doctest::Contains("[cka] expected two matrices"),
                       Error);
}

namespace {

using Rows = std::vector<std::vector<double>>;

// CKA as its definition has it, one number at a time: K_ij = exp(-d_ij / (2 m)), m = sigma^2 or, where sigma is 0, the
// lower median of the positive distances over i < j; the plain estimator by double centring, the debiased one as Song et
// al. 2012 write it.
double plain_cka(const Rows& x, const Rows& y, bool unbiased, double sigma = 0.0) {
  const std::size_t n = x.size();
  const auto gram = [&](const Rows& rows) {
    Rows k(n, std::vector<double>(n, 0.0));
    std::vector<double> positive;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        for (std::size_t c = 0; c < rows[i].size(); ++c)
          k[i][j] += (rows[i][c] - rows[j][c]) * (rows[i][c] - rows[j][c]);
        if (i < j && k[i][j] > 0.0) positive.push_back(k[i][j]);
      }
    std::ranges::sort(positive);
    const double median = sigma > 0.0 ? sigma * sigma : positive[(positive.size() - 1) / 2];
    std::vector<double> sums(n, 0.0);
    double all = 0.0;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        k[i][j] = unbiased && i == j ? 0.0 : std::exp(-0.5 * k[i][j] / median);
        sums[i] += k[i][j];
        all += k[i][j];
      }
    // The centred matrix of Szekely and Rizzo 2014 gives the debiased estimator as a plain inner product.
    const auto m = static_cast<double>(n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        k[i][j] += unbiased ? (i == j ? -k[i][j] : all / ((m - 1) * (m - 2)) - (sums[i] + sums[j]) / (m - 2))
                            : all / (m * m) - (sums[i] + sums[j]) / m;
    return k;
  };
  const auto inner = [n](const Rows& a, const Rows& b) {
    double sum = 0.0;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) sum += a[i][j] * b[i][j];
    return sum;
  };
  const Rows k = gram(x), l = gram(y);
  return inner(k, l) / std::sqrt(inner(k, k) * inner(l, l));
}

Variable matrix(const Rows& rows) {
  std::vector<double> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return Variable(Tensor::from(flat, {std::ssize(rows), std::ssize(rows[0])}));
}

}  // namespace

TEST_CASE("the median kernel against a plain loop in a thousand draws, whatever the order of the rows") {
  for (std::uint64_t draw = 0; draw < 1000; ++draw) {
    CAPTURE(draw);
    // Most are small: there an error of the median shows.
    const std::int64_t n =
        4 + static_cast<std::int64_t>(296.999 * std::pow(random_uniform({1, 1}, draw, 0), 6));
    const auto p = static_cast<std::size_t>(1 + 8 * random_uniform({1, 1}, draw, 1));
    Rows x(static_cast<std::size_t>(n)), y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
      for (std::size_t c = 0; c < p; ++c) {
        x[i].push_back(5.0 + random_normal({2, 1}, draw, i * p + c));
        y[i].push_back(x[i][c] + random_normal({3, 1}, draw, i * p + c));
      }
    Rows reversed_x(x.rbegin(), x.rend()), reversed_y(y.rbegin(), y.rend());
    for (const bool unbiased : {false, true}) {
      const CkaOptions options{.kernel = CkaKernel::rbf_median, .debiased = unbiased};
      const double expected = plain_cka(x, y, unbiased);
      const double forward = item(cka(matrix(x), matrix(y), options).value);
      const double backward = item(cka(matrix(reversed_x), matrix(reversed_y), options).value);
      CHECK(std::abs(forward - expected) < 1e-12);
      CHECK(std::abs(forward - backward) < 1e-12);
    }
  }
}

TEST_CASE("a narrow kernel, small between any two rows, keeps its digits in the debiased estimator") {
  for (std::uint64_t draw = 0; draw < 100; ++draw) {
    CAPTURE(draw);
    const std::size_t n = 4 + draw % 12, p = 10;
    Rows x(n), y(n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t c = 0; c < p; ++c) {
        x[i].push_back(random_normal({5, 1}, draw, i * p + c));
        y[i].push_back(random_normal({6, 1}, draw, i * p + c));
      }
    const Rows reversed_x(x.rbegin(), x.rend()), reversed_y(y.rbegin(), y.rend());
    const Cka forward = cka(matrix(x), matrix(y), debiased(kRbf)),
              backward = cka(matrix(reversed_x), matrix(reversed_y), debiased(kRbf));
    if (!forward.value.defined()) continue;  // it hardly varies
    CHECK(std::abs(item(forward.value) - plain_cka(x, y, true, kRbf.sigma)) < 1e-12);
    CHECK(std::abs(item(forward.value) - item(backward.value)) < 1e-12);
    CHECK(forward.mean_kernel.item() ==
          doctest::Approx(cka(matrix(x), matrix(y), kRbf).mean_kernel.item()).epsilon(1e-9));
  }
}

TEST_CASE("mini-batches: sums of terms, not of quotients") {
  MinibatchCka batches(kLinear);
  double xy = 0.0, xx = 0.0, yy = 0.0;
  CHECK(std::isnan(batches.value()));
  for (int i = 0; i < 3; ++i) {
    const Variable x = noise(10, 4, fmt::format("x{}", i)), y = noise(10, 4, fmt::format("x{}", i), 2.0);
    const Variable mixed = noise(10, 4, fmt::format("m{}", i));
    batches.add(x.value(), mixed.value());
    const Hsic h = hsic(x, mixed, debiased(kLinear));
    xy += item(h.xy);
    xx += item(h.xx);
    yy += item(h.yy);
  }
  CHECK(batches.value() == doctest::Approx(xy / std::sqrt(xx * yy)).epsilon(1e-12));
}

TEST_CASE("expert_cka: the debiased linear CKA of the two experts' outputs on the tokens that they share") {
  SmallLayer small(small_options());
  const Experts& experts = small.layer.experts();
  const Tensor tokens = draw({24, SmallLayer::kDim}, "tokens");
  std::vector<std::int32_t> choices;
  for (int t = 0; t < 24; ++t) choices.insert(choices.end(), {1, 3});
  const auto pairs = expert_cka(tokens, Tensor::from(choices, {24, 2}), experts, 16, 20);
  REQUIRE(pairs.size() == 1);
  CHECK(pairs[0].tokens == 20);  // the first ones
  const Tensor y = experts.forward_pair(Variable(tokens.slice0(0, 20)), 1, 3, DType::f32).value();
  const Variable a(y.slice0(0, 20)), b(y.slice0(20, 40));
  CHECK(pairs[0].value == item(cka(a, b, {.debiased = true}).value));
  CHECK(std::abs(pairs[0].value - item(cka(a, b, {}).value)) > 0.01);
}

TEST_CASE("cka: undefined where one side hardly varies, and the mean of an rbf kernel") {
  const Variable x = noise(12, 3, "x"), y = noise(12, 3, "y");
  for (const CkaOptions& options : {kLinear, debiased(kLinear), kRbf}) {
    CHECK(cka(x, y, options).value.defined());
    CHECK(!cka(ops::scale(x, 1e-7), ops::scale(y, 1e-7), options).value.defined());
  }
  double sum = 0.0;
  const std::vector<double> rows_x = x.value().to_vector<double>(), rows_y = y.value().to_vector<double>();
  for (const auto* rows : {&rows_x, &rows_y})
    for (std::size_t i = 0; i < 12; ++i)
      for (std::size_t j = 0; j < 12; ++j) {
        double square = 0.0;
        for (std::size_t d = 0; d < 3; ++d)
          square += ((*rows)[i * 3 + d] - (*rows)[j * 3 + d]) * ((*rows)[i * 3 + d] - (*rows)[j * 3 + d]);
        if (i != j) sum += std::exp(-square / (2.0 * 0.8 * 0.8));
      }
  CHECK(cka(x, y, kRbf).mean_kernel.item() == doctest::Approx(sum / (2.0 * 12.0 * 11.0)).epsilon(1e-12));
  CHECK(!cka(x, y, kLinear).mean_kernel.defined());
}

TEST_CASE("expert_cka: equal experts score 1 on shared tokens, pairs that hardly meet are left out") {
  MoeOptions options = small_options();
  options.init_alike = 1.0;
  SmallLayer small(options);
  for (const char* bias : {"moe.experts.up_bias", "moe.experts.down_bias"})
    small.parameter(bias).value().fill(0.0);
  const Tensor tokens = draw({40, SmallLayer::kDim}, "tokens");
  std::vector<std::int32_t> choices;
  for (int t = 0; t < 40; ++t) choices.insert(choices.end(), {t < 20 ? 0 : 2, t < 36 ? 1 : 3});
  const auto pairs = expert_cka(tokens, Tensor::from(choices, {40, 2}), small.layer.experts());
  REQUIRE(pairs.size() == 2);  // 0 and 1 on 20 tokens, 1 and 2 on 16; 2 and 3 on four
  CHECK(pairs[0].a == 0);
  CHECK(pairs[0].b == 1);
  CHECK(pairs[0].tokens == 20);
  CHECK(pairs[1].tokens == 16);
  for (const PairCka& pair : pairs) CHECK(pair.value == doctest::Approx(1.0).epsilon(1e-9));
}

}  // namespace simsmoe::moe
