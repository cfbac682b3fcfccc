#include "tests/support/op_checks.hpp"

#include <algorithm>
#include <cmath>

#include "engine/philox.hpp"
#include "tests/support/gradcheck.hpp"
#include "tests/support/run_comparison.hpp"

// One function per check, in the order of op_checks() at the end.

namespace simsmoe::testing {

namespace {

// Leaves `byte` in the memory that the next tensors of these sizes are made of, in whatever dtype.
void poison_free_memory(const TestBench& bench, const Tensor& y, int byte) {
  std::vector<std::int64_t> sizes = {y.numel()};
  for (const Variable& x : bench.leaves()) sizes.push_back(x.value().numel());
  std::vector<Tensor> blocks;
  for (const std::int64_t numel : sizes)
    for (const std::int64_t width : {2, 4, 8})
      for (int i = 0; i < 8; ++i) {
        blocks.push_back(Tensor::empty({numel * width}, DType::u8, bench.device()));
        runtime(bench.device()).fill_bytes(blocks.back().raw_data(), byte, blocks.back().bytes());
      }
}

// A copy of a tensor between two strips of sentinel bytes.
struct Guarded {
  static constexpr std::int64_t kStrip = 64;  // elements: keeps the alignment of 64 bytes
  static constexpr int kSentinel = 0xA5;

  explicit Guarded(const Tensor& value) {
    const std::int64_t n = value.numel();
    block = Tensor::empty({n + 2 * kStrip}, value.dtype(), value.device());
    runtime(value.device()).fill_bytes(block.raw_data(), kSentinel, block.bytes());
    tensor = block.slice0(kStrip, kStrip + n).view(value.shape());
    tensor.copy_from(value);
  }
  bool intact() const {
    const std::int64_t n = block.numel();
    return clean(block.slice0(0, kStrip)) && clean(block.slice0(n - kStrip, n));
  }
  static bool clean(const Tensor& strip) {
    const Tensor here = strip.to(kCpu);
    const auto* bytes = static_cast<const unsigned char*>(here.raw_data());
    return std::all_of(bytes, bytes + here.bytes(), [](unsigned char b) { return b == kSentinel; });
  }

  Tensor block, tensor;
};

// --- the checks ---------------------------------------------------------------------------------------

Outcome report(const GradcheckReport& numeric) {
  return {numeric.worst_error, numeric.passed ? "" : numeric.to_string()};
}

// Values that are not finite have no differences.
Tensor without_weight_where_not_finite(const Tensor& weights, const Tensor& y) {
  std::vector<double> w = weights.to_vector<double>(), values = y.to_vector<double>();
  for (std::size_t i = 0; i < w.size(); ++i)
    if (!std::isfinite(values[i])) w[i] = 0.0;
  return Tensor::from(w, y.shape());
}

Outcome numeric_check(const TestBench& bench, const Variables& x, const Variables& moved) {
  const auto function = [&] { return bench.op_case().run(x); };
  GradcheckOptions options;
  options.tolerance = bench.op_case().tolerance.numeric;
  options.allow_zero_gradient = true;  // x - x is constant; elsewhere `arrives` asks for more than zeros
  options.finite_only = bench.op_case().nonfinite;
  // Big cases are there for their threads and tails; a few elements of each suffice for the formula.
  for (const Variable& input : x)
    if (input.value().numel() > 1000) options.samples_per_tensor = 6;
  const Tensor y = function().value();
  Tensor weights = bench.weights(y);
  if (options.finite_only) weights = without_weight_where_not_finite(weights, y);
  return report(gradcheck(function, weights, moved, options));
}

Outcome check_numeric(const TestBench& bench) {
  const Variables x = bench.leaves();
  Variables moved;
  for (const std::size_t i : bench.differentiable()) moved.push_back(x[i]);
  return numeric_check(bench, x, moved);
}

Outcome check_reference(const TestBench& bench) {
  const TestBench exact(bench.op_case(), kCpu, DType::f64);
  const auto how = bench.op_case().extreme ? compare_within_range : compare;
  return how(bench.run(), exact.run(), bench.tolerance());
}

Outcome check_values(const TestBench& bench) {
  if (!bench.op_case().expected) return {};
  std::vector<std::vector<double>> inputs;
  for (const Variable& x : bench.leaves()) inputs.push_back(x.value().to_vector<double>());
  const std::vector<double> expected = bench.op_case().expected(inputs),
                            y = bench.run().y.to_vector<double>();
  if (y.size() != expected.size())
    return {0.0, fmt::format("{} values, expected {}", y.size(), expected.size())};
  Outcome outcome;
  const double largest = largest_magnitude(expected);
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] == expected[i] || (std::isnan(y[i]) && std::isnan(expected[i]))) continue;
    const double error = std::abs(y[i] - expected[i]) / largest;
    outcome.error = std::max(outcome.error, error);
    if (!(error <= bench.tolerance()))
      outcome.problem = fmt::format("y[{}] = {}, expected {}", i, y[i], expected[i]);
  }
  return outcome;
}

// A gradient into a buffer of ones must be the gradient plus one.
Outcome check_accumulate(const TestBench& bench) {
  const Run fresh = bench.run();
  const Variables x = bench.leaves();
  for (const std::size_t i : bench.differentiable())
    x[i].set_grad(Tensor::full(x[i].shape(), 1.0, x[i].dtype(), bench.device()));
  const Run added = bench.run(x);
  Run expected = fresh;
  for (const std::size_t i : bench.differentiable()) {
    if (!fresh.gradients[i].defined()) return {0.0, fmt::format("no gradient for input {}", i)};
    std::vector<double> values = fresh.gradients[i].to_vector<double>();
    for (double& v : values) v += 1.0;
    expected.gradients[i] = Tensor::from(values, fresh.gradients[i].shape());
  }
  // Where dx + 1 nearly vanishes, the rounding of 1 and dx remains: measured against 1 at least.
  Outcome outcome;
  for (const std::size_t i : bench.differentiable()) {
    const std::vector<double> a = added.gradients[i].to_vector<double>();
    const std::vector<double> b = expected.gradients[i].to_vector<double>();
    const double scale = 1.0 + largest_magnitude(b);
    for (std::size_t j = 0; j < a.size(); ++j) {
      const bool same = a[j] == b[j] || (std::isnan(a[j]) && std::isnan(b[j]));
      const double error = same ? 0.0 : std::abs(a[j] - b[j]) / scale;
      outcome.error = std::max(outcome.error, error);
      if (!(error <= bench.tolerance()))
        outcome.problem =
            fmt::format("input {}[{}]: {} into a buffer of ones gave {}", i, j, b[j] - 1.0, a[j]);
    }
  }
  return outcome;
}

// Neither forward nor backward may read what fresh memory holds: zeros or NaN, the result is the same.
Outcome check_overwrite(const TestBench& bench) {
  const Run first = bench.run();
  poison_free_memory(bench, first.y, 0x00);
  const Run on_zeros = bench.run();
  poison_free_memory(bench, first.y, 0xff);
  return {0.0, first_bit_difference(on_zeros, bench.run())};
}

// f(x, x): both contributions arrive in one gradient.
Outcome check_aliasing(const TestBench& bench) {
  Outcome worst;
  for (const std::size_t i : bench.differentiable())
    for (const std::size_t j : bench.differentiable()) {
      if (i >= j) continue;
      Variables x = bench.leaves();
      if (x[i].shape() != x[j].shape()) continue;
      x[i] = x[j];
      const Outcome outcome = numeric_check(bench, x, {x[j]});
      worst.error = std::max(worst.error, outcome.error);
      if (!outcome.problem.empty())
        worst.problem = fmt::format("inputs {} and {} the same: {}", i, j, outcome.problem);
    }
  return worst;
}

// Every subset of the gradients: the same numbers, and nothing for those that need none.
Outcome check_partial(const TestBench& bench) {
  const Run full = bench.run();
  const std::vector<std::size_t>& inputs = bench.differentiable();
  Outcome worst;
  for (std::size_t subset = 0; subset + 1 < (std::size_t{1} << inputs.size()); ++subset) {
    std::vector<bool> wanted(bench.op_case().inputs.size(), false);
    Run expected = full;
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      wanted[inputs[k]] = ((subset >> k) & 1) != 0;
      if (!wanted[inputs[k]]) expected.gradients[inputs[k]] = {};
    }
    const Outcome outcome = compare(bench.run(bench.leaves(wanted)), expected, bench.tolerance());
    worst.error = std::max(worst.error, outcome.error);
    if (!outcome.problem.empty()) worst.problem = fmt::format("subset {:b}: {}", subset, outcome.problem);
  }
  return worst;
}

Outcome check_repeatability(const TestBench& bench) {
  return {0.0, first_bit_difference(bench.run(), bench.run())};
}

// The checks run on one thread (op_suite.cpp); here two share even the smallest loop.
Outcome check_threads(const TestBench& plain) {
  const TestBench bench = plain.with_full_mantissas();
  const Run one = bench.run();
  const ThreadCount two_threads(2);
  const ShareEveryLoop sharing;
  const Run two = bench.run();
  if (!first_bit_difference(two, bench.run()).empty()) return {0.0, "two runs on two threads differ"};
  if (bench.op_case().any_threads) return {0.0, first_bit_difference(two, one)};
  return compare(two, one, bench.tolerance());
}

// Inputs are only read, and nothing is written beside them or beside a gradient. (Results are new memory of
// the op's own making: debug builds watch behind each block, sanitizers everywhere.)
Outcome check_bounds(const TestBench& bench) {
  const Variables plain = bench.leaves();
  std::vector<Guarded> values, gradients;
  Variables x;
  for (const Variable& input : plain) {
    values.emplace_back(input.value());
    x.emplace_back(values.back().tensor, input.requires_grad());
    gradients.emplace_back(Tensor::zeros_like(input.value()));
    if (input.requires_grad()) x.back().share_grad(gradients.back().tensor);
  }
  bench.run(x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!same_bits(values[i].tensor, plain[i].value())) return {0.0, fmt::format("input {} was changed", i)};
    if (!values[i].intact()) return {0.0, fmt::format("something wrote beside input {}", i)};
    if (!gradients[i].intact()) return {0.0, fmt::format("something wrote beside gradient {}", i)};
  }
  return {};
}

// Without a tape, and on a tape without gradients to compute: the same value, and nothing is remembered.
Outcome check_no_tape(const TestBench& bench) {
  const Tensor y = bench.run().y;
  if (!same_bits(y, bench.op_case().run(bench.leaves()).value()))
    return {0.0, "the value without a tape differs"};
  const Run constant = bench.run(bench.leaves(std::vector<bool>(bench.op_case().inputs.size(), false)));
  if (!same_bits(y, constant.y)) return {0.0, "the value without gradients differs"};
  if (constant.nodes != 0) return {0.0, fmt::format("{} nodes recorded for nothing", constant.nodes)};
  return {};
}

Outcome check_arrives(const TestBench& bench) {
  const Run run = bench.run();
  const OpCase& c = bench.op_case();
  for (const std::size_t i : bench.differentiable()) {
    const Tensor& gradient = run.gradients[i];
    if (!gradient.defined()) return {0.0, fmt::format("no gradient arrives at input {}", i)};
    if (c.nonfinite || c.extreme) continue;  // exp(1e30) is infinite, and so is its slope
    if (!all_finite(gradient)) return {0.0, fmt::format("gradient {} is not finite", i)};
    const bool zero = largest_magnitude(gradient.to_vector<double>()) == 0.0;
    if (zero && gradient.numel() > 0 && run.y.numel() > 0 && !c.zero_gradient)
      return {0.0, fmt::format("gradient {} is zero everywhere", i)};
  }
  return {};
}

// What the error of a run is missing: "[name] expected" in the name of the op.
std::string complaint(const OpCase& c, const Variables& x, const std::string& expected) {
  try {
    c.run(x);
  } catch (const Error& error) {
    if (std::string_view(error.what()).find(expected) != std::string_view::npos) return {};
    return fmt::format("expected '{}', got '{}'", expected, error.what());
  }
  return fmt::format("expected '{}', nothing was thrown", expected);
}

// Each float operand left undefined, unless the op does without: the error is the op's own.
Outcome check_undefined(const TestBench& bench) {
  const OpCase& c = bench.op_case();
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    if (c.inputs[i].optional || !is_float(c.inputs[i].integer)) continue;
    Variables x = bench.leaves();
    x[i] = {};
    if (const std::string problem = complaint(c, x, fmt::format("[{}] expected", c.op)); !problem.empty())
      return {0.0, fmt::format("input {} undefined: {}", i, problem)};
  }
  return {};
}

}  // namespace

Outcome check_error(const TestBench& bench) {
  return {0.0, complaint(bench.op_case(), bench.leaves(), bench.op_case().error)};
}

const std::vector<OpCheck>& op_checks() {
  static const std::vector<OpCheck> checks = {
      {"numeric", check_numeric, true, true},       {"reference", check_reference, false, false},
      {"values", check_values, false, true},        {"accumulate", check_accumulate, true, false},
      {"overwrite", check_overwrite, false, false}, {"aliasing", check_aliasing, true, true},
      {"partial", check_partial, true, false},      {"repeatable", check_repeatability, false, false},
      {"threads", check_threads, false, false},     {"bounds", check_bounds, false, false},
      {"no_tape", check_no_tape, false, false},     {"arrives", check_arrives, true, false},
      {"undefined", check_undefined, false, true},
  };
  return checks;
}

// --- the bench ----------------------------------------------------------------------------------------

TestBench::TestBench(const OpCase& op_case, Device device, DType dtype)
    : case_(op_case), device_(device), dtype_(dtype) {
  for (std::size_t i = 0; i < case_.inputs.size(); ++i) {
    const InputSpec& spec = case_.inputs[i];
    const Tensor value = make_input(spec, fmt::format("{}/{}/{}", case_.op, case_.name, i));
    values_.push_back((is_float(value.dtype()) ? value.to(dtype) : value).to(device));
    wanted_.push_back(spec.needs_grad);
    if (spec.needs_grad) differentiable_.push_back(i);
  }
}

Variables TestBench::leaves(const std::vector<bool>& wanted) const {
  Variables x;
  for (std::size_t i = 0; i < values_.size(); ++i) x.emplace_back(values_[i].clone(), wanted[i]);
  return x;
}

TestBench TestBench::with_floats(const std::function<void(std::size_t, std::vector<double>&)>& change) const {
  TestBench bench = *this;
  for (std::size_t i = 0; i < values_.size(); ++i) {
    if (!is_float(values_[i].dtype())) continue;
    std::vector<double> values = values_[i].to_vector<double>();
    change(i, values);
    bench.values_[i] = Tensor::from(values, values_[i].shape()).to(dtype_).to(device_);
  }
  return bench;
}

TestBench TestBench::with_full_mantissas() const {
  return with_floats([this](std::size_t i, std::vector<double>& values) {
    if (!case_.inputs[i].values.empty()) return;
    const RandomKey key{2, stream_of(fmt::format("{}/{}/{}", case_.op, case_.name, i))};
    for (std::size_t j = 0; j < values.size(); ++j)
      values[j] *= 1.0 - 0x1p-7 * static_cast<double>(random_uniform(key, 0, j));
  });
}

Run TestBench::run(const Variables& x) const {
  Run result;
  {
    Tape tape;
    const Variable y = case_.run(x);
    result.y = y.value();
    result.nodes = tape.nodes().size();
    if (y.requires_grad() && result.nodes > 0) tape.backward(y, weights(y.value()));
  }
  for (const Variable& input : x) result.gradients.push_back(input.grad());
  return result;
}

Tensor TestBench::weights(const Tensor& y) const {
  const RandomKey key{1, stream_of(case_.op + "/" + case_.name)};
  std::vector<double> w(static_cast<std::size_t>(y.numel()));
  for (std::size_t i = 0; i < w.size(); ++i) {
    const float u = random_uniform(key, 0, i);
    w[i] = static_cast<double>(static_cast<float>(bf16(u < 0.5f ? -0.5f - 2.0f * u : 2.0f * u - 0.5f)));
  }
  return Tensor::from(w, y.shape()).to(y.dtype()).to(y.device());
}

// Rounding of n terms adds up like sqrt(n) steps of a random walk; bf16 is summed in f32, so that only the
// few roundings of stored values count.
double TestBench::tolerance() const {
  std::int64_t length = 1;
  for (const Tensor& value : values_) length = std::max(length, value.numel());
  const double steps = 4.0 + std::sqrt(static_cast<double>(length));
  double unit = 0.0;
  switch (dtype_) {
    case DType::f64:
      unit = 0x1p-52 * steps;
      break;
    case DType::f32:
      unit = 0x1p-23 * steps;
      break;
    default:
      unit = 0x1p-8 * 4.0;
  }
  return unit * case_.tolerance.reference;
}

}  // namespace simsmoe::testing
