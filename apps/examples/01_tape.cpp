// Start here: what a Variable is, what a Tape remembers, and how a gradient comes back.
// Next: engine/tape.hpp, then ops/README.md.

#include <iostream>

#include "engine/tape_print.hpp"
#include "ops/ops.hpp"

using namespace simsmoe;

int main() {
  // A Tensor is memory. A Variable is memory with a history; this one wants a gradient.
  const Variable x(Tensor::from<double>({1.0, 2.0, 3.0}, {3}), true, "x");
  const Variable w(Tensor::from<double>({0.5, -1.0, 2.0}, {3}), true, "w");

  // While a Tape is alive, every op on a Variable that wants a gradient is remembered.
  Tape tape;
  const Variable y = ops::sum(ops::square(ops::mul(x, w)));  // y = sum_i (x_i w_i)^2
  print_tape(tape, std::cout);
  std::cout << "y = " << y.value().item() << "\n";

  // The tape is walked from its end to its beginning; then it is empty, and the leaves hold their gradients.
  tape.backward(y);
  std::cout << "dy/dx = " << to_string(x.grad()) << "\n";  // 2 x_i w_i^2
  std::cout << "dy/dw = " << to_string(w.grad()) << "\n";  // 2 x_i^2 w_i

  for (std::size_t i = 0; i < 3; ++i) {
    const double xi = x.value().host<double>()[i], wi = w.value().host<double>()[i];
    if (x.grad().host<double>()[i] != 2 * xi * wi * wi || w.grad().host<double>()[i] != 2 * xi * xi * wi)
      return 1;
  }
  return 0;
}
