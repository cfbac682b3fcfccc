#pragma once
// The questions that the suite asks of every op, as functions of a TestBench: a case on a device in a dtype.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/parallel_for.hpp"
#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

struct Outcome {
  double error = 0.0;
  std::string problem;  // empty: passed
};

// What one execution left behind. Gradients are undefined where none arrived.
struct Run {
  Tensor y;
  std::vector<Tensor> gradients;
  std::size_t nodes = 0;
};

class TestBench {
 public:
  TestBench(const OpCase& op_case, Device device, DType dtype);

  const OpCase& op_case() const { return case_; }
  Device device() const { return device_; }
  DType dtype() const { return dtype_; }
  const std::vector<std::size_t>& differentiable() const { return differentiable_; }

  // Fresh leaves with the case's values; input i requires a gradient when wanted[i].
  Variables leaves(const std::vector<bool>& wanted) const;
  Variables leaves() const { return leaves(wanted_); }
  // Forward and backward with dy = weights(y); leaves are taken as they are.
  Run run(const Variables& x) const;
  Run run() const { return run(leaves()); }
  // The weights of the outputs: magnitudes from 0.5 to 1.5, either sign, exact in bf16.
  Tensor weights(const Tensor& y) const;
  // The same with floats of which every bit counts (drawn ones; given values stay), a little nearer to 0: products of the
  // case's own numbers are exact in f32, so that it makes no difference how they are rounded.
  TestBench with_full_mantissas() const;
  // The same with other floats: change(i, values) writes over those of input i, which are rounded to the dtype.
  TestBench with_floats(const std::function<void(std::size_t, std::vector<double>&)>& change) const;
  // The largest difference that rounding may make between two right results of this dtype, relative to the
  // largest magnitude of the result.
  double tolerance() const;

 private:
  const OpCase& case_;
  Device device_;
  DType dtype_;
  std::vector<Tensor> values_;
  std::vector<bool> wanted_;
  std::vector<std::size_t> differentiable_;  // inputs with needs_grad
};

// Sets the number of threads, and back.
class ThreadCount {
 public:
  explicit ThreadCount(int threads) : before_(num_threads()) { set_num_threads(threads); }
  ~ThreadCount() { set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

struct OpCheck {
  std::string_view name;
  Outcome (*check)(const TestBench&);
  bool needs_gradient;  // skipped for a case without differentiable inputs
  bool f64_only;
};

// In the order of the table in ops/README.md; "errors" is apart: it is the only one of an add_error case.
const std::vector<OpCheck>& op_checks();
Outcome check_error(const TestBench& bench);

}  // namespace simsmoe::testing
