#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/dispatch.hpp"
#include "ops/check.hpp"
#include "ops/cpu_kernel.hpp"
#include "tests/support/gradcheck.hpp"
#include "tests/support/op_suite.hpp"

// The suite itself under test: each planted mistake must be found, by the check that is there for it.

using namespace simsmoe;
using namespace simsmoe::testing;

namespace {

enum class Bug {
  none,
  slightly_wrong_gradient,
  ignores_accumulate,
  forgets_to_overwrite,
  leaves_a_gap,
  changes_its_input,
  writes_behind_its_input,
  counts_its_calls,
  differs_without_tape,
  depends_on_threads,
  depends_on_pieces,
  rounds_by_pieces,
  imprecise,
  records_nothing,
  gradient_is_zero,
  gradient_is_nan,
  loses_nan,
  loses_its_name,
};

template <class T>
T planted_slope(Bug bug, T x) {
  if (bug == Bug::slightly_wrong_gradient) return T(2.000001) * x;
  if (bug == Bug::gradient_is_zero) return 0;
  if (bug == Bug::gradient_is_nan) return std::numeric_limits<T>::quiet_NaN();
  return 2 * x;
}

// y = x^2 with one mistake.
Variable planted_square(const Variable& x, Bug bug) {
  static int calls = 0;
  if (bug != Bug::loses_its_name) ops::check_float("planted", x);
  Tensor y = Tensor::empty_like(x.value());
  for_float_dtype(x.dtype(), [&]<class T>() {
    T* in = x.value().data<T>();
    T* out = y.data<T>();
    const std::int64_t n = x.value().numel();
    acc_t<T> excess = 1;
    if (bug == Bug::counts_its_calls) excess += static_cast<acc_t<T>>(++calls % 2);
    if (bug == Bug::differs_without_tape && Tape::current() == nullptr) excess = 2;
    if (bug == Bug::depends_on_threads) excess = static_cast<acc_t<T>>(num_threads());
    if (bug == Bug::imprecise && !std::is_same_v<T, double>) excess = static_cast<acc_t<T>>(1.03);
    cpu::parallel_elements(n, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        if (bug == Bug::leaves_a_gap && i == n / 2) continue;
        const acc_t<T> x_i = static_cast<acc_t<T>>(in[bug == Bug::depends_on_pieces ? begin : i]);
        const bool lost = bug == Bug::loses_nan && !std::is_same_v<T, double> && x_i != x_i;
        out[i] = static_cast<T>(lost ? acc_t<T>{0} : excess * x_i * x_i);
        // As where a compiler fuses a product in the body of a loop and not at its ends.
        if (bug == Bug::rounds_by_pieces && i != begin)
          out[i] = static_cast<T>(x_i * x_i + 8 * std::fma(x_i, x_i, -(x_i * x_i)));
      }
    });
    if (bug == Bug::changes_its_input) in[0] = static_cast<T>(acc_t<T>(3));
    if (bug == Bug::writes_behind_its_input) in[n] = static_cast<T>(acc_t<T>(3));
  });
  if (bug == Bug::records_nothing) return Variable(y);
  return record("planted", {x}, y, [x = x.value(), bug](BackwardContext& ctx) {
    GradTarget dx = ctx.target(0);
    if (bug == Bug::ignores_accumulate) dx.accumulate = false;
    if (bug == Bug::forgets_to_overwrite) dx.accumulate = true;
    for_float_dtype(x.dtype(), [&]<class T>() {
      for (std::int64_t i = 0; i < x.numel(); ++i)
        cpu::write_grad(dx.buffer.data<T>()[i],
                        planted_slope(bug, static_cast<acc_t<T>>(x.data<T>()[i])) *
                            static_cast<acc_t<T>>(ctx.grad_output().data<T>()[i]),
                        dx.accumulate);
    });
  });
}

enum class PairBug {
  none,
  takes_both_targets_first,
  asks_for_the_unwanted,
  forgets_when_alone,
  overflows,
  underflows,
  names_the_first_only,
};

// y = a * b with one mistake in how it asks for its targets.
Variable planted_product(const Variable& a, const Variable& b, PairBug bug) {
  ops::check_float("planted", a);
  if (bug != PairBug::names_the_first_only) ops::check_float("planted", b);
  const auto multiply = [](const Tensor& x, const Tensor& dy, GradTarget target) {
    for_float_dtype(x.dtype(), [&]<class T>() {
      for (std::int64_t i = 0; i < x.numel(); ++i)
        cpu::write_grad(target.buffer.data<T>()[i],
                        static_cast<acc_t<T>>(x.data<T>()[i]) * static_cast<acc_t<T>>(dy.data<T>()[i]),
                        target.accumulate);
    });
  };
  Tensor y = Tensor::empty_like(a.value());
  multiply(a.value(), b.value(), {y, false});
  if (bug == PairBug::overflows || bug == PairBug::underflows)  // a b = (a a) b / a, or (b b) a / b
    for_float_dtype(y.dtype(), [&]<class T>() {
      const T *p = a.value().data<T>(), *q = b.value().data<T>();
      if (bug == PairBug::underflows) std::swap(p, q);
      for (std::int64_t i = 0; i < y.numel(); ++i) {
        const acc_t<T> left = p[i], right = q[i];
        y.data<T>()[i] = static_cast<T>(left * left * right / left);
      }
    });
  return record("planted", {a, b}, y, [=, a = a.value(), b = b.value()](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    if (bug == PairBug::takes_both_targets_first && ctx.wants(0) && ctx.wants(1)) {
      const GradTarget da = ctx.target(0), db = ctx.target(1);
      multiply(a, dy, db);
      multiply(b, dy, da);  // f(x, x): overwrites what the line above wrote
      return;
    }
    if (ctx.wants(0) || bug == PairBug::asks_for_the_unwanted) multiply(b, dy, ctx.target(0));
    if (ctx.wants(1))
      multiply(bug == PairBug::forgets_when_alone && !ctx.wants(0) ? b : a, dy, ctx.target(1));
  });
}

std::set<std::string> failed_checks(const OpCase& op_case) {
  std::set<std::string> failed;
  for (const CheckResult& result : run_suite({}, {}, {op_case}))
    if (!result.passed) failed.insert(result.check);
  return failed;
}

OpCase square_case(Bug bug) {
  OpCase c;
  c.op = "planted";
  c.name = "square";
  // five elements: the planted write behind the input stays within the allocator's rounding
  c.inputs = {rand({5}, 0.5, 1.5)};
  c.run = [bug](const Variables& x) { return planted_square(x[0], bug); };
  return c;
}

// Numbers beside infinities and NaN.
OpCase nonfinite_case(Bug bug) {
  OpCase c = square_case(bug);
  c.inputs = {fixed({5}, {kInfinity, 0.5, kNan, 1.5, -kInfinity})};
  c.nonfinite = true;
  return c;
}

OpCase product_case(PairBug bug) {
  OpCase c;
  c.op = "planted";
  c.name = "product";
  c.inputs = {rand({5}, 0.5, 1.5), rand({5}, 0.5, 1.5)};
  c.run = [bug](const Variables& x) { return planted_product(x[0], x[1], bug); };
  return c;
}

// Products of about 1.
OpCase extreme_case(PairBug bug) {
  OpCase c = product_case(bug);
  c.inputs = {rand({5}, 1e30, 2e30), rand({5}, 1e-30, 2e-30)};
  c.extreme = true;
  return c;
}

}  // namespace

TEST_CASE("right ops pass") {
  CHECK(failed_checks(square_case(Bug::none)).empty());
  CHECK(failed_checks(product_case(PairBug::none)).empty());
  CHECK(failed_checks(nonfinite_case(Bug::none)).empty());
  CHECK(failed_checks(extreme_case(PairBug::none)).empty());
}

TEST_CASE("planted mistakes are found") {
#ifdef NDEBUG
  const char* const garbage = "overwrite";
#else
  const char* const garbage = "numeric";  // fresh memory is always NaN here: already the first check sees it
#endif
  const std::pair<Bug, const char*> expected[] = {
      {Bug::slightly_wrong_gradient, "numeric"}, {Bug::ignores_accumulate, "accumulate"},
      {Bug::forgets_to_overwrite, garbage},      {Bug::leaves_a_gap, garbage},
      {Bug::changes_its_input, "bounds"},        {Bug::writes_behind_its_input, "bounds"},
      {Bug::counts_its_calls, "repeatable"},     {Bug::differs_without_tape, "no_tape"},
      {Bug::depends_on_threads, "threads"},      {Bug::depends_on_pieces, "threads"},
      {Bug::rounds_by_pieces, "threads"},        {Bug::imprecise, "reference"},
      {Bug::records_nothing, "arrives"},         {Bug::gradient_is_zero, "arrives"},
      {Bug::gradient_is_nan, "arrives"},         {Bug::loses_its_name, "undefined"},
  };
  for (const auto& mistake : expected) {  // no structured binding: CAPTURE makes a lambda, see clang 14
    CAPTURE(mistake.second);
    CAPTURE(static_cast<int>(mistake.first));
    CHECK(failed_checks(square_case(mistake.first)).contains(mistake.second));
  }
  CHECK(failed_checks(product_case(PairBug::takes_both_targets_first)).contains("aliasing"));
  CHECK(failed_checks(product_case(PairBug::asks_for_the_unwanted)).contains("partial"));
  CHECK(failed_checks(product_case(PairBug::forgets_when_alone)).contains("partial"));
  CHECK(failed_checks(product_case(PairBug::names_the_first_only)) == std::set<std::string>{"undefined"});
}

TEST_CASE("values that are not those of the definition are found") {
  const auto failed = [](double factor, std::size_t left_out) {
    OpCase c = square_case(Bug::none);
    c.expected = [=](const std::vector<std::vector<double>>& x) {
      std::vector<double> y;
      for (std::size_t i = left_out; i < x[0].size(); ++i) y.push_back(factor * x[0][i] * x[0][i]);
      return y;
    };
    return failed_checks(c);
  };
  CHECK(failed(1.0, 0).empty());
  CHECK(failed(1.0 + 1e-12, 0) == std::set<std::string>{"values"});
  CHECK(failed(1.0, 1) == std::set<std::string>{"values"});
}

TEST_CASE("mistakes among infinities and NaN are found") {
  CHECK(failed_checks(nonfinite_case(Bug::loses_nan)).contains("reference"));
  CHECK(failed_checks(nonfinite_case(Bug::slightly_wrong_gradient)).contains("numeric"));
  CHECK(failed_checks(nonfinite_case(Bug::imprecise)).contains("reference"));
  CHECK(failed_checks(nonfinite_case(Bug::ignores_accumulate)).contains("accumulate"));
  // The same case without the flag: its gradients are not finite.
  OpCase plain = nonfinite_case(Bug::none);
  plain.nonfinite = false;
  CHECK(failed_checks(plain).contains("arrives"));
}

TEST_CASE("mistakes at extreme magnitudes are found") {
  CHECK(failed_checks(extreme_case(PairBug::overflows)) == std::set<std::string>{"reference"});
  CHECK(failed_checks(extreme_case(PairBug::underflows)) == std::set<std::string>{"reference"});
  // In units of 2^100 the squares overflow f32, as they must; in units of 2^-100 they vanish.
  for (const double unit : {0x1p100, 0x1p-100}) {
    OpCase c = square_case(Bug::none);
    c.inputs = {rand({5}, 0.5 * unit, 1.5 * unit)};
    c.extreme = true;
    CHECK(failed_checks(c).empty());
    c.run = [](const Variables& x) { return planted_square(x[0], Bug::imprecise); };
    CHECK(failed_checks(c).empty());  // 3 % of infinity or of nothing
  }
}

TEST_CASE("an optional operand may be undefined") {
  OpCase c = product_case(PairBug::names_the_first_only);
  c.inputs[1] = optional(c.inputs[1]);
  CHECK(failed_checks(c).empty());
}

TEST_CASE("missing kinds of cases are named") {
  const OpCase plain = square_case(Bug::none), nonfinite = nonfinite_case(Bug::none);
  const OpCase extreme = extreme_case(PairBug::none);
  CHECK(missing_cases({plain, nonfinite, extreme}).empty());
  const auto missing = [](const std::vector<OpCase>& cases) {
    const std::vector<std::string> sentences = missing_cases(cases);
    return sentences.size() == 1 ? sentences.front() : fmt::format("{} sentences", sentences.size());
  };
  CHECK(missing({nonfinite, extreme}) == "planted has no ordinary case");
  CHECK(missing({plain, extreme}) == "planted has no case with infinities or NaN (nonfinite)");
  CHECK(missing({plain, nonfinite}) == "planted has no case with extreme magnitudes (extreme)");
  // Flags alone do not count.
  OpCase tame = plain;
  tame.nonfinite = true;
  CHECK(missing({plain, tame, extreme}) == "planted has no case with infinities or NaN (nonfinite)");
  tame.extreme = true;
  tame.nonfinite = false;
  CHECK(missing({plain, nonfinite, tame}) == "planted has no case with extreme magnitudes (extreme)");
  // What is not differentiable owes nothing.
  OpCase integer = plain;
  integer.inputs = {integers({3}, 0, 5)};
  CHECK(missing_cases({integer}).empty());
}

TEST_CASE("a missing or different error is found") {
  OpCase c = square_case(Bug::none);
  c.error = "[square] expected";
  CHECK(failed_checks(c) == std::set<std::string>{"errors"});
  c.run = [](const Variables&) -> Variable { throw Error("[square] wanted something else"); };
  CHECK(failed_checks(c) == std::set<std::string>{"errors"});
  c.run = [](const Variables&) -> Variable { throw Error("[square] expected a square"); };
  CHECK(failed_checks(c).empty());
}

TEST_CASE("a filter selects one slice") {
  const OpCase c = square_case(Bug::none);
  const std::vector<CheckResult> one = run_suite("planted/square/cpu/bf16/reference", {}, {c});
  REQUIRE(one.size() == 1);
  CHECK(one.front().name() == "ops/planted/square/cpu/bf16/reference");
  CHECK(run_suite("no such thing", {}, {c}).empty());
  const SuiteSummary summary = summarize(run_suite("ops/planted/square/cpu/f64/", {}, {c}));
  CHECK(summary.ops == 1);
  CHECK(summary.cases == 1);
  // all but `reference`, which f64 on the CPU is itself, and `aliasing`: one input
  CHECK(summary.checks == 11);
  CHECK(summary.failed == 0);
  CHECK(summary.worst_error < 1e-9);
}

TEST_CASE("gradcheck of modules") {
  const Variable w(Tensor::from(std::vector<double>{0.5, -1.5, 2.0}, {3}), true, "layer.weight");
  const Variable unused(Tensor::from(std::vector<double>{1.0}, {1}), true, "layer.unused");
  const Tensor weights = Tensor::full({3}, 1.0, DType::f64);
  const auto with = [&](Bug bug) { return [&w, bug] { return planted_square(w, bug); }; };

  SUBCASE("right") {
    const GradcheckReport report = gradcheck(with(Bug::none), weights, {w});
    CHECK_MESSAGE(report.passed, report.to_string());
    CHECK(report.elements == 3);
    CHECK(w.value().to_vector<double>() == std::vector<double>{0.5, -1.5, 2.0});
  }
  SUBCASE("wrong") {
    const GradcheckReport report = gradcheck(with(Bug::slightly_wrong_gradient), weights, {w});
    CHECK_FALSE(report.passed);
    CHECK(report.worst_error / 5e-7 == doctest::Approx(1.0).epsilon(0.01));
    CHECK(report.worst_place.find("layer.weight[2]") == 0);
  }
  SUBCASE("wrong, where all gradients are small") {
    const Tensor small = Tensor::full({3}, 1e-5, DType::f64);
    CHECK_FALSE(gradcheck(with(Bug::slightly_wrong_gradient), small, {w}).passed);
    CHECK(gradcheck(with(Bug::none), small, {w}).passed);
  }
  SUBCASE("names what receives no gradient") {
    const GradcheckReport report = gradcheck(with(Bug::none), weights, {w, unused});
    CHECK_FALSE(report.passed);
    CHECK(report.problems == std::vector<std::string>{"layer.unused: no gradient arrives"});
  }
  SUBCASE("names what receives zeros") {
    const GradcheckReport report = gradcheck(with(Bug::gradient_is_zero), weights, {w});
    CHECK(report.problems == std::vector<std::string>{"layer.weight: the gradient is zero everywhere"});
  }
  SUBCASE("notices a selection that changes") {
    GradcheckOptions options;
    options.selection = [&w] {
      return std::vector<std::int64_t>{w.value().to_vector<double>()[1] > -1.5 ? 1 : 0};
    };
    const GradcheckReport report = gradcheck(with(Bug::none), weights, {w}, options);
    CHECK(report.problems ==
          std::vector<std::string>{"the selection changed while layer.weight[1] was moved"});
  }
  SUBCASE("samples a large tensor") {
    GradcheckOptions options;
    options.samples_per_tensor = 2;
    CHECK(gradcheck(with(Bug::none), weights, {w}, options).elements == 2);
  }
  SUBCASE("wants f64") {
    const Variable narrow(Tensor::zeros({2}, DType::f32), true, "narrow");
    CHECK_THROWS_AS(gradcheck([&] { return narrow; }, {narrow}), Error);
  }
}
