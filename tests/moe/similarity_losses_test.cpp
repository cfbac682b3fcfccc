// Every measure of likeness grows with likeness: minimising it drives outputs apart. Sign, range and gradient.
#include <doctest/doctest.h>

#include <cmath>

#include "moe/similarity_losses.hpp"
#include "tests/moe/fixture.hpp"
#include "tests/support/gradcheck.hpp"

namespace simsmoe::moe {

namespace {

constexpr const char* kLosses[] = {"cka", "cosine", "abs_cosine", "infonce", "dcl", "nt_xent"};

SimilarityOptions with_loss(const std::string& name) {
  MoeOptions options;
  options.set("similarity.loss", name);
  return options.similarity.resolved(Variant::paper);
}

double value(const Tensor& x, const Tensor& y, const SimilarityOptions& options) {
  return likeness(Variable(x), Variable(y), options).value.value().item();
}

// (1 - t) a + t b
Tensor between(const Tensor& a, const Tensor& b, double t) {
  std::vector<double> mixed = a.to_vector<double>();
  const std::vector<double> other = b.to_vector<double>();
  for (std::size_t i = 0; i < mixed.size(); ++i) mixed[i] = (1.0 - t) * mixed[i] + t * other[i];
  return Tensor::from(mixed, a.shape());
}

}  // namespace

TEST_CASE("the closer two outputs are, the larger the value, for every loss") {
  const Tensor x = draw({24, 6}, "x"), y = draw({24, 6}, "y");
  for (const char* name : kLosses) {
    CAPTURE(name);
    double last = -1e300;
    for (const double t : {0.25, 0.5, 0.75, 1.0}) {  // what has nothing in common scores by chance
      const double now = value(x, between(y, x, t), with_loss(name));
      CHECK(now > last);
      CHECK(now <= largest_likeness(with_loss(name)) + 1e-12);
      last = now;
    }
  }
}

TEST_CASE("a step down the gradient makes outputs less alike, as another measure sees it") {
  for (const char* name : kLosses) {
    CAPTURE(name);
    const SimilarityOptions options = with_loss(name);
    const Tensor x = draw({24, 6}, "x"), near = between(draw({24, 6}, "y"), x, 0.7);
    const Variable moving(near.clone(), true, "y");
    Tape tape;
    tape.backward(likeness(Variable(x), moving, options).value);
    double norm = 0.0;
    for (const double g : moving.grad().to_vector<double>()) norm += g * g;
    REQUIRE(norm > 0.0);
    std::vector<double> stepped = near.to_vector<double>();
    const std::vector<double> slope = moving.grad().to_vector<double>();
    for (std::size_t i = 0; i < stepped.size(); ++i) stepped[i] -= 2.0 * slope[i] / std::sqrt(norm);
    const Tensor after = Tensor::from(stepped, near.shape());
    CHECK(value(x, after, options) < value(x, near, options));
    const SimilarityOptions judge = with_loss(std::string(name) == "cka" ? "cosine" : "cka");
    CHECK(value(x, after, judge) < value(x, near, judge));
  }
}

TEST_CASE("numeric gradient of every loss, with and without rows of length 1") {
  for (const char* name : kLosses)
    for (const bool normalize : {false, true})
      for (const KernelChoice kernel : {KernelChoice::linear, KernelChoice::rbf}) {
        CAPTURE(name);
        CAPTURE(normalize);
        SimilarityOptions options = with_loss(name);
        options.normalize = normalize;
        options.kernel = kernel;
        const Variable x(draw({7, 4}, "x"), true, "x"), y(draw({7, 4}, "y"), true, "y");
        const auto report = testing::gradcheck([&] { return likeness(x, y, options).value; }, {x, y});
        CHECK_MESSAGE(report.passed, report.to_string());
      }
}

TEST_CASE("formulas: cosine, abs_cosine, infonce, dcl and nt_xent by plain loops") {
  const std::int64_t n = 5, p = 3;
  const Tensor x = draw({n, p}, "x"), y = draw({n, p}, "y");
  std::vector<std::vector<double>> z;  // rows of x, then of y, of length 1
  for (const Tensor& m : {x, y})
    for (std::int64_t i = 0; i < n; ++i) {
      const double* row = m.data<double>() + i * p;
      const double length = std::sqrt(row[0] * row[0] + row[1] * row[1] + row[2] * row[2]);
      z.push_back({row[0] / length, row[1] / length, row[2] / length});
    }
  const auto dot = [&](std::size_t i, std::size_t j) {
    return z[i][0] * z[j][0] + z[i][1] * z[j][1] + z[i][2] * z[j][2];
  };
  double cosine = 0.0, absolute = 0.0, infonce = 0.0, dcl = 0.0, nt_xent = 0.0;
  for (std::size_t i = 0; i < 5; ++i) {
    cosine += dot(i, i + 5) / 5.0;
    absolute += std::abs(dot(i, i + 5)) / 5.0;
    double all = 0.0;
    for (std::size_t j = 0; j < 5; ++j) all += std::exp(dot(i, j + 5) / 0.1);
    infonce += (dot(i, i + 5) / 0.1 - std::log(all)) / 5.0;
  }
  for (const std::size_t side : {0, 5})  // x against y, y against x
    for (std::size_t i = 0; i < 5; ++i) {
      double own = 0.0, cross = 0.0;
      for (std::size_t j = 0; j < 5; ++j) {
        if (j == i) continue;
        own += std::exp(dot(i + side, j + side) / 0.07);
        cross += std::exp(dot(i + side, j + 5 - side) / 0.07);
      }
      dcl += 0.5 * (dot(i, i + 5) / 0.07 - std::log(own) - std::log(cross)) / 5.0;
    }
  for (std::size_t i = 0; i < 10; ++i) {
    double all = 0.0;
    for (std::size_t j = 0; j < 10; ++j)
      if (j != i) all += std::exp(dot(i, j) / 0.5);
    nt_xent += (dot(i, (i + 5) % 10) / 0.5 - std::log(all)) / 10.0;
  }
  CHECK(value(x, y, with_loss("cosine")) == doctest::Approx(cosine).epsilon(1e-12));
  CHECK(value(x, y, with_loss("abs_cosine")) == doctest::Approx(absolute).epsilon(1e-12));
  CHECK(value(x, y, with_loss("infonce")) == doctest::Approx(infonce).epsilon(1e-12));
  CHECK(value(x, y, with_loss("dcl")) == doctest::Approx(dcl).epsilon(1e-12));
  CHECK(value(x, y, with_loss("nt_xent")) == doctest::Approx(nt_xent).epsilon(1e-12));
}

TEST_CASE("a threshold that nothing can exceed, an unknown loss: the user's error") {
  const auto message = [](const std::string& loss, double threshold) -> std::string {
    MoeOptions options = small_options();
    options.similarity.threshold = threshold;
    try {
      options.set("similarity.loss", loss);
      validate(options);
    } catch (const UserError& error) {
      return error.what();
    }
    return {};
  };
  CHECK(message("cka", 0.5).empty());
  CHECK(message("cka", 1.0).starts_with("similarity.threshold = 1 can never be exceeded"));
  CHECK(message("infonce", 0.5).starts_with("similarity.threshold = 0.5 can never be exceeded"));
  CHECK(message("infonce", -2.0).empty());
  CHECK(message("ckaa", 0.5) ==
        "similarity.loss: expected one of cka, cosine, abs_cosine, infonce, dcl, nt_xent, got \"ckaa\", did "
        "you mean "
        "'cka'?");
}

}  // namespace simsmoe::moe
