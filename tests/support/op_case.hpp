#pragma once
// An op described once: the suite (op_suite.hpp) multiplies each case by device x dtype x check.
//
//   SMX_CASES(softmax) {
//     add("softmax", "3x7", {rand({3, 7})}, [](const Variables& x) { return ops::softmax(x[0]); });
//     add_error("softmax", "integer", {integers({2}, 0, 5)},
//               [](const Variables& x) { return ops::softmax(x[0]); }, "[softmax] expected a float tensor");
//   }

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "engine/tape.hpp"

namespace simsmoe::testing {

// How one input is made. Floats are drawn uniformly from [low, high] by Philox keyed by the case's name,
// rounded to bf16 (all dtypes start from the same numbers) and moved away from `kinks` by `margin` at least.
struct InputSpec {
  Shape shape;
  double low = -1.0, high = 1.0;
  std::vector<double> kinks = {};  // points where the op is not differentiable
  double margin = 0.05;
  bool needs_grad = true;
  bool optional = false;            // the op does without: not left out by the check "undefined"
  DType integer = DType::f32;       // i32, i64 or u8: an integer input in [low, high), never differentiated
  std::vector<double> values = {};  // given values instead of drawn ones
};

InputSpec rand(Shape shape, double low = -1.0, double high = 1.0);
InputSpec rand_away_from(Shape shape, std::vector<double> kinks, double low = -1.0, double high = 1.0);
InputSpec distinct(Shape shape);  // elements differ by at least 0.05 within the last axis: for top-k and max
InputSpec integers(Shape shape, std::int64_t low, std::int64_t high, DType dtype = DType::i32);
InputSpec fixed(Shape shape, std::vector<double> values);  // float, differentiable
InputSpec fixed_integers(Shape shape, std::vector<double> values, DType dtype = DType::i32);
InputSpec mask(Shape shape);         // u8, 0 or 1
InputSpec constant(InputSpec spec);  // the same without a gradient
InputSpec optional(InputSpec spec);  // the same, of an operand that may be undefined

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Exceptions to the common tolerances; each use needs a comment at the case.
struct Tolerance {
  double numeric = 1e-7;   // relative error of the numeric gradient check, f64
  double reference = 1.0;  // multiplies the table's tolerance of agreement with CPU f64
};

struct OpCase {
  std::string op;    // the name passed to record(); for a composed op the name of the function
  std::string name;  // what is special here: "3x7", "bias", "empty expert"
  std::vector<InputSpec> inputs;
  std::function<Variable(const Variables&)> run;  // one float output
  // The elements of y by the definition, in double, from those of the inputs: what the op is held to by somebody else.
  std::function<std::vector<double>(const std::vector<std::vector<double>>& x)> expected = {};
  Tolerance tolerance = {};
  std::string error = {};  // not empty: run must throw an Error whose message contains it
  std::vector<DType> dtypes = {DType::f64, DType::f32, DType::bf16};
  // The exceptions; each use says why at the case.
  bool aliasing = true;     // f(x, x) has a meaning, with the values of the later of the two inputs
  bool any_threads = true;  // the same bits for any number of threads; false: agreement within the tolerance
  bool zero_gradient = false;  // the gradient of some input is zero everywhere by its nature
  // Inputs with infinities or NaN: they and what they lead to are compared place by place, and differences
  // are taken only where both x and y are finite.
  bool nonfinite = false;
  // Inputs of about 1e30 or 1e-30: where the result of f64 fits into the dtype it must come out, and agree.
  bool extreme = false;
  std::string family = {};  // of SMX_CASES, set by op_cases()
};

// Adds to the list that op_cases() returns. Called inside SMX_CASES.
OpCase& add(std::string op, std::string name, std::vector<InputSpec> inputs,
            std::function<Variable(const Variables&)> run);
void add_error(std::string op, std::string name, std::vector<InputSpec> inputs,
               std::function<Variable(const Variables&)> run, std::string message);

// Two cases with extreme = true, "huge" and "tiny": the float inputs in units of 2^100 and 2^-100.
void add_extremes(std::string op, std::vector<InputSpec> inputs,
                  std::function<Variable(const Variables&)> run, const std::string& prefix = "");

const std::vector<OpCase>& op_cases();  // by family, then in the order of definition

// The values of one input as f64 on the CPU (integers in their own dtype). `name` keys the draws.
Tensor make_input(const InputSpec& spec, const std::string& name);

struct CaseFamily {
  CaseFamily(const char* family, void (*define)());  // remembers; op_cases() runs it on first use
};

}  // namespace simsmoe::testing

#define SMX_CASES(family)                                                                         \
  static void define_cases_of_##family();                                                         \
  static const ::simsmoe::testing::CaseFamily family##_cases(#family, &define_cases_of_##family); \
  static void define_cases_of_##family()
