// Values at the ends of the range, and gradients against the formulas.
#include "moe/balance_losses.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/softmax.hpp"
#include "tests/moe/fixture.hpp"
#include "tests/support/gradcheck.hpp"

namespace simsmoe::moe {

namespace {

constexpr const char* kForms[] = {"switch",    "first_choice", "sequence", "sequence_first_choice",
                                  "reference", "global"};

// The choices of 6 tokens, two sequences of three, among 4 experts.
constexpr std::int64_t kTokens = 6, kSequence = 3, kExperts = 4, kChoices = 2;
const Tensor& choices() {
  static const Tensor experts =
      Tensor::from(std::vector<std::int32_t>{0, 1, 0, 2, 1, 0, 3, 0, 2, 0, 2, 3}, {kTokens, kChoices});
  return experts;
}

// E f_e at this token, as the words of the header say it.
double slope(const std::string& form, std::size_t token, std::int32_t expert) {
  const std::vector<std::int32_t> all = choices().to_vector<std::int32_t>();
  const bool sequence = form.starts_with("sequence"), first = form.ends_with("first_choice");
  std::size_t hits = 0, counted = 0;
  for (std::size_t t = 0; t < kTokens; ++t)
    for (std::size_t j = 0; j < kChoices; ++j) {
      if ((first && j > 0) || (sequence && t / kSequence != token / kSequence)) continue;
      ++counted;
      hits += all[t * kChoices + j] == expert;
    }
  const double share = static_cast<double>(hits) / static_cast<double>(counted);
  return static_cast<double>(kExperts) * share / (form == "reference" ? 2.0 : 1.0);
}

BalanceForm form_named(const std::string& name) {
  return form_of(MoeOptions().set("moe.balance", name).balance);
}

double item(const Variable& loss) { return loss.value().item(); }

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
  const Tensor certain = Tensor::zeros({8, 4}, DType::f64);
  std::vector<std::int32_t> even, same;
  for (std::int32_t t = 0; t < 8; ++t) {
    certain.host<double>()[static_cast<std::size_t>(t) * 4 + 2] = 1.0;
    even.insert(even.end(), {t % 4, (t + 1) % 4, (t + 2) % 4});
    same.push_back(2);
  }
  for (const std::string form : kForms) {
    CAPTURE(form);
    const BalanceForm by_name = form_named(form);
    CHECK(item(load_balance_loss(uniform, Tensor::from(even, {8, 3}), 4, by_name)) ==
          doctest::Approx(form == "reference" ? 1.0 / 3 : 1.0));
    CHECK(item(load_balance_loss(Variable(certain), Tensor::from(same, {8, 1}), 4, by_name)) ==
          doctest::Approx(4.0));
  }
}

TEST_CASE("balance loss: sequences that each collapse on an expert of their own are seen by sequence only") {
  const Tensor certain = Tensor::zeros({8, 4}, DType::f64);
  std::vector<std::int32_t> choice;
  for (std::size_t t = 0; t < 8; ++t) {
    certain.host<double>()[t * 4 + t / 2] = 1.0;
    choice.push_back(static_cast<std::int32_t>(t / 2));
  }
  const Tensor experts = Tensor::from(choice, {8, 1});
  CHECK(item(load_balance_loss(Variable(certain), experts, 2, form_named("switch"))) == doctest::Approx(1.0));
  CHECK(item(load_balance_loss(Variable(certain), experts, 2, form_named("sequence"))) ==
        doctest::Approx(4.0));
}

TEST_CASE("balance loss: tokens that are no whole number of sequences are refused") {
  const Variable uniform(Tensor::full({kTokens, kExperts}, 0.25, DType::f64));
  CHECK_THROWS_AS(load_balance_loss(uniform, choices(), 4, form_named("sequence")), Error);
  CHECK_NOTHROW(load_balance_loss(uniform, choices(), 4, form_named("switch")));
}

TEST_CASE("balance loss: the gradient flows through the mean probabilities only") {
  const std::size_t n = kTokens, e = kExperts;
  const Variable logits(draw({kTokens, kExperts}, "logits"), true, "logits");
  for (const std::string form : kForms) {
    CAPTURE(form);
    logits.clear_grad();
    Tape tape;
    const Variable loss = load_balance_loss(ops::softmax(logits), choices(), kSequence, form_named(form));
    tape.backward(loss);
    // L = mean_t sum_e s_te p_te with s_te = E f_e: dL/dg_te = p_te (s_te - sum_i s_ti p_ti) / N
    const auto g = logits.value().to_vector<double>(), dg = logits.grad().to_vector<double>();
    double expected = 0.0;
    for (std::size_t t = 0; t < n; ++t) {
      const std::vector<double> p = softmax_row(g.data() + t * e, e);
      std::vector<double> s(e);
      double mean_s = 0.0;
      for (std::size_t i = 0; i < e; ++i)
        mean_s += p[i] * (s[i] = slope(form, t, static_cast<std::int32_t>(i)));
      for (std::size_t i = 0; i < e; ++i) CHECK(dg[t * e + i] == doctest::Approx(p[i] * (s[i] - mean_s) / n));
      expected += mean_s / n;
    }
    CHECK(item(loss) == doctest::Approx(expected));
  }
}

TEST_CASE("balance loss: the form global counts all micro-batches of the step so far") {
  MoeOptions options = small_options();
  options.balance_weight = 1.0;
  SmallLayer micro(options);  // balance = switch
  options.balance = Balance::global;
  SmallLayer global(options);
  const auto passes = [&](const SmallLayer& of, nn::Observations& observed, int first, int last) {
    std::vector<double> losses;
    for (int i = first; i < last; ++i) {
      nn::ForwardContext ctx = training_context();
      ctx.observed = std::move(observed);
      of.layer.forward(Variable(draw({2, 4, SmallLayer::kDim}, fmt::format("x{}", i), 3.0)), ctx);
      losses.push_back(ctx.losses.terms().at(0).value.value().item());
      observed = std::move(ctx.observed);
    }
    return losses;
  };
  nn::Observations none, seen;
  const std::vector<double> alone = passes(micro, none, 0, 3), together = passes(global, seen, 0, 3);
  CHECK(together[0] == alone[0]);  // accumulate = 1 is switch
  // The second and third by hand: f over what was routed so far, P of the micro-batch.
  std::vector<double> counts(4, 0.0);
  for (int i = 0; i < 3; ++i) {
    nn::ForwardContext ctx = training_context();
    const Variable x(draw({8, SmallLayer::kDim}, fmt::format("x{}", i), 3.0));
    const RouterOutput route = global.layer.router().route(x, global.layer.experts(), ctx);
    for (const int e : route.experts.to_vector<int>()) counts[static_cast<std::size_t>(e)] += 1.0;
    const std::vector<double> p = ops::softmax(route.logits).value().to_vector<double>();
    double expected = 0.0;
    for (std::size_t j = 0; j < p.size(); ++j)
      expected += 4.0 * counts[j % 4] / (16.0 * (i + 1)) * p[j] / 8.0;
    CHECK(together[static_cast<std::size_t>(i)] == doctest::Approx(expected).epsilon(1e-12));
  }
  CHECK(together[1] != doctest::Approx(alone[1]).epsilon(1e-3));
  seen.end_step(0);
  CHECK(passes(global, seen, 1, 2)[0] == alone[1]);  // the next step begins anew
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
  const Variable logits(draw({kTokens, kExperts}, "numeric", 2.0), true, "logits");
  for (const std::string form : kForms) {
    const auto report = testing::gradcheck(
        [&] { return load_balance_loss(ops::softmax(logits), choices(), kSequence, form_named(form)); },
        {logits});
    CHECK_MESSAGE(report.passed, report.to_string());
  }
  const auto report = testing::gradcheck([&] { return z_loss(logits); }, {logits});
  CHECK_MESSAGE(report.passed, report.to_string());
}

}  // namespace simsmoe::moe
