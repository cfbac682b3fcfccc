#include "tests/support/op_case.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "engine/philox.hpp"

// How inputs are drawn, and the list of all cases. The checks are in op_checks.cpp.

namespace simsmoe::testing {

namespace {

// Families by name: the order in which the linker put their files together does not matter.
std::map<std::string, void (*)()>& families() {
  static std::map<std::string, void (*)()> list;
  return list;
}

std::vector<OpCase>& cases_being_defined() {
  static std::vector<OpCase> list;
  return list;
}

double round_to_bf16(double x) { return static_cast<double>(static_cast<float>(bf16(x))); }

double away_from(const std::vector<double>& kinks, double margin, double x) {
  for (const double kink : kinks) {
    const double distance = x - kink;
    if (std::abs(distance) < margin) return round_to_bf16(kink + (distance < 0 ? -margin : margin));
  }
  return x;
}

}  // namespace

InputSpec rand(Shape shape, double low, double high) {
  InputSpec spec;
  spec.shape = shape;
  spec.low = low;
  spec.high = high;
  return spec;
}

InputSpec rand_away_from(Shape shape, std::vector<double> kinks, double low, double high) {
  InputSpec spec = rand(shape, low, high);
  spec.kinks = std::move(kinks);
  return spec;
}

InputSpec distinct(Shape shape) {
  const std::int64_t n = shape.rank() == 0 ? 1 : shape[-1];
  SMX_CHECK(n <= 256, "[distinct] at most 256 elements in the last axis are exact in bf16, got {}", shape);
  InputSpec spec;
  spec.shape = shape;
  std::vector<double> row(static_cast<std::size_t>(n));
  std::iota(row.begin(), row.end(), -static_cast<double>(n / 2));
  const RandomKey key{0, stream_of("distinct")};
  std::uint64_t draw = 0;
  while (static_cast<std::int64_t>(spec.values.size()) < shape.numel()) {
    for (std::size_t i = row.size(); i > 1; --i)  // Fisher and Yates
      std::swap(row[i - 1], row[random_bits(key, 0, draw++) % i]);
    for (const double step : row) spec.values.push_back(step / 16);
  }
  return spec;
}

InputSpec integers(Shape shape, std::int64_t low, std::int64_t high, DType dtype) {
  InputSpec spec = rand(shape, static_cast<double>(low), static_cast<double>(high));
  spec.integer = dtype;
  spec.needs_grad = false;
  return spec;
}

InputSpec fixed(Shape shape, std::vector<double> values) {
  InputSpec spec;
  spec.shape = shape;
  spec.values = std::move(values);
  return spec;
}

InputSpec fixed_integers(Shape shape, std::vector<double> values, DType dtype) {
  InputSpec spec = fixed(shape, std::move(values));
  spec.integer = dtype;
  spec.needs_grad = false;
  return spec;
}

InputSpec mask(Shape shape) { return integers(shape, 0, 2, DType::u8); }

InputSpec optional(InputSpec spec) {
  spec.optional = true;
  return spec;
}

InputSpec constant(InputSpec spec) {
  spec.needs_grad = false;
  return spec;
}

Tensor make_input(const InputSpec& spec, const std::string& name) {
  const RandomKey key{0, stream_of(name)};
  std::vector<double> values = spec.values;
  for (std::int64_t i = static_cast<std::int64_t>(values.size()); i < spec.shape.numel(); ++i)
    values.push_back(spec.low + (spec.high - spec.low) * static_cast<double>(random_uniform(
                                                             key, 0, static_cast<std::uint64_t>(i))));
  if (!is_float(spec.integer)) {
    for (double& x : values) x = std::floor(x);
    return Tensor::from(values, spec.shape).to(spec.integer);
  }
  for (double& x : values) x = away_from(spec.kinks, spec.margin, round_to_bf16(x));
  return Tensor::from(values, spec.shape);
}

OpCase& add(std::string op, std::string name, std::vector<InputSpec> inputs,
            std::function<Variable(const Variables&)> run) {
  OpCase c;
  c.op = std::move(op);
  c.name = std::move(name);
  c.inputs = std::move(inputs);
  c.run = std::move(run);
  return cases_being_defined().emplace_back(std::move(c));
}

void add_error(std::string op, std::string name, std::vector<InputSpec> inputs,
               std::function<Variable(const Variables&)> run, std::string message) {
  add(std::move(op), std::move(name), std::move(inputs), std::move(run)).error = std::move(message);
}

void add_extremes(std::string op, std::vector<InputSpec> inputs,
                  std::function<Variable(const Variables&)> run, const std::string& prefix) {
  for (const auto& [name, unit] : {std::pair<const char*, double>{"huge", 0x1p100}, {"tiny", 0x1p-100}}) {
    std::vector<InputSpec> scaled = inputs;
    for (InputSpec& spec : scaled) {
      if (!is_float(spec.integer)) continue;
      for (double* number : {&spec.low, &spec.high, &spec.margin}) *number *= unit;
      for (double& kink : spec.kinks) kink *= unit;
      for (double& value : spec.values) value *= unit;
    }
    add(op, prefix + name, std::move(scaled), run).extreme = true;
  }
}

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> all = [] {
    for (const auto& [family, define] : families()) {
      const std::size_t first = cases_being_defined().size();
      define();
      for (std::size_t i = first; i < cases_being_defined().size(); ++i)
        cases_being_defined()[i].family = family;
    }
    return std::move(cases_being_defined());
  }();
  return all;
}

CaseFamily::CaseFamily(const char* family, void (*define)()) { families()[family] = define; }

}  // namespace simsmoe::testing
