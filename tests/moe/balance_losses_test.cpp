// Values at the ends of the range, and gradients against the formulas.
#include "moe/balance_losses.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/softmax.hpp"
#include "tests/moe/fixture.hpp"
#include "tests/support/gradcheck.hpp"

namespace simsmoe::moe {

namespace {

Tensor counts_of(std::vector<std::int64_t> counts) {
  const auto n = static_cast<std::int64_t>(counts.size());
  return Tensor::from(counts, {n});
}

std::vector<double> softmax_row(const double* g, std::size_t n) {
  std::vector<double> p(g, g + n);
  double sum = 0.0;
  for (double& value : p) sum += value = std::exp(value);
  for (double& value : p) value /= sum;
  return p;
}

}  // namespace

TEST_CASE("balance loss: 1 (switch) and 1/k (reference) when uniform, E times that when collapsed") {
  const Variable uniform(Tensor::full({8, 4}, 0.25, DType::f64));
  const Tensor even = counts_of({6, 6, 6, 6});  // k = 3
  CHECK(load_balance_loss(uniform, even, 3, BalanceForm::switch_form).value().item() == doctest::Approx(1.0));
  CHECK(load_balance_loss(uniform, even, 3, BalanceForm::reference).value().item() ==
        doctest::Approx(1.0 / 3));

  const Tensor certain = Tensor::zeros({8, 4}, DType::f64);
  for (std::size_t t = 0; t < 8; ++t) certain.host<double>()[t * 4 + 2] = 1.0;
  const Tensor one = counts_of({0, 0, 8, 0});
  CHECK(load_balance_loss(Variable(certain), one, 1, BalanceForm::switch_form).value().item() ==
        doctest::Approx(4.0));
}

TEST_CASE("balance loss: the gradient flows through the mean probabilities only") {
  const std::size_t n = 6, e = 4, k = 2;
  const Variable logits(draw({6, 4}, "logits"), true, "logits");
  const std::vector<std::int64_t> counts = {5, 1, 4, 2};
  for (const auto form : {BalanceForm::switch_form, BalanceForm::reference}) {
    logits.clear_grad();
    Tape tape;
    tape.backward(load_balance_loss(ops::softmax(logits), counts_of(counts), 2, form));
    // L = E sum_e f_e mean_t p_te: dL/dg_te = E/N p_te (f_e - sum_i f_i p_ti), over k in the reference form
    const auto g = logits.value().to_vector<double>(), dg = logits.grad().to_vector<double>();
    const double scale = form == BalanceForm::reference ? 1.0 / static_cast<double>(k) : 1.0;
    for (std::size_t t = 0; t < n; ++t) {
      const std::vector<double> p = softmax_row(g.data() + t * e, e);
      double mean_f = 0.0;
      for (std::size_t i = 0; i < e; ++i) mean_f += p[i] * static_cast<double>(counts[i]) / (n * k);
      for (std::size_t i = 0; i < e; ++i)
        CHECK(dg[t * e + i] ==
              doctest::Approx(scale * e / n * p[i] * (static_cast<double>(counts[i]) / (n * k) - mean_f)));
    }
  }
}

TEST_CASE("z-loss: value and gradient") {
  const std::size_t n = 5, e = 3;
  const Variable logits(draw({5, 3}, "z", 2.0), true, "logits");
  Tape tape;
  const Variable loss = z_loss(logits);
  tape.backward(loss);
  const auto g = logits.value().to_vector<double>(), dg = logits.grad().to_vector<double>();
  double expected = 0.0;
  for (std::size_t t = 0; t < n; ++t) {
    double sum = 0.0;
    for (std::size_t i = 0; i < e; ++i) sum += std::exp(g[t * e + i]);
    const double lse = std::log(sum);
    expected += lse * lse / n;
    const std::vector<double> p = softmax_row(g.data() + t * e, e);
    for (std::size_t i = 0; i < e; ++i) CHECK(dg[t * e + i] == doctest::Approx(2.0 / n * lse * p[i]));
  }
  CHECK(loss.value().item() == doctest::Approx(expected));
}

TEST_CASE("numeric gradient of both losses") {
  const Variable logits(draw({6, 4}, "numeric", 2.0), true, "logits");
  for (const auto form : {BalanceForm::switch_form, BalanceForm::reference}) {
    const auto report = testing::gradcheck(
        [&] {
          return load_balance_loss(ops::softmax(logits), counts_of({5, 1, 4, 2}), 2, form);
        },
        {logits});
    CHECK_MESSAGE(report.passed, report.to_string());
  }
  const auto report = testing::gradcheck([&] { return z_loss(logits); }, {logits});
  CHECK_MESSAGE(report.passed, report.to_string());
}

}  // namespace simsmoe::moe
