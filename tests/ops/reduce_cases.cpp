#include "ops/reduce.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

namespace {

using All = Variable (*)(const Variable&);
using Along = Variable (*)(const Variable&, int, bool);

// A sum of terms of either sign nearly cancels; its rounding is that of the terms.
void loosen(OpCase& c) { c.tolerance.reference = 8.0; }

void add_along(const char* name, Along op, InputSpec (*make)(Shape)) {
  for (const int axis : {0, 1, 2, -1})
    for (const bool keep : {false, true})
      loosen(add(name, fmt::format("3x4x5 axis {}{}", axis, keep ? " kept" : ""), {make({3, 4, 5})},
                 [=](const Variables& x) { return op(x[0], axis, keep); }));
  const auto along = [op](int axis) { return [=](const Variables& x) { return op(x[0], axis, false); }; };
  add(name, "one element", {make({1})}, along(0));
  add(name, "n=1", {make({3, 1, 2})}, along(1));
  add(name, "no rows", {make({0, 4})}, along(1));
  add(name, "no columns", {make({4, 0})}, along(0));
  loosen(
      add(name, "long rows", {make({131, 255})}, along(1)));  // more than one thread's share, as the next two
  loosen(add(name, "long columns", {make({255, 131})}, along(0)));
  loosen(add(name, "long middle", {make({2, 255, 67})}, along(1)));
  add_error(name, "no such axis", {make({2, 3})}, along(2), "axis 2");
  add_error(name, "along integers", {integers({2, 3}, 0, 5)}, along(0),
            fmt::format("[{}] expected a float tensor", name));
}

InputSpec uniform(Shape shape) { return rand(shape); }

}  // namespace

SMX_CASES(reduce) {
  for (const auto& [name, op] : {std::pair<const char*, All>{"sum", &ops::sum}, {"mean", &ops::mean}}) {
    const All function = op;
    const auto run = [function](const Variables& x) { return function(x[0]); };
    loosen(add(name, "3x7", {rand({3, 7})}, run));
    add(name, "scalar", {rand({})}, run);
    add(name, "one element", {rand({1, 1})}, run);
    loosen(add(name, "40000 elements", {rand({40000})}, run));
    add_error(name, "integers", {integers({2, 3}, 0, 5)}, run,
              fmt::format("[{}] expected a float tensor", name));
  }
  add("sum", "nothing", {rand({0, 3})}, [](const Variables& x) { return ops::sum(x[0]); });
  add_error(
      "mean", "nothing", {rand({0, 3})}, [](const Variables& x) { return ops::mean(x[0]); },
      "[mean] expected at least one element");
  add_error(
      "mean", "along nothing", {rand({3, 0})}, [](const Variables& x) { return ops::mean(x[0], 1); },
      "[mean] expected at least one element along axis 1");
  add_error(
      "max", "along nothing", {rand({3, 0})}, [](const Variables& x) { return ops::max(x[0], 1); },
      "[max] expected at least one element along axis 1");
  add("sum", "along nothing", {rand({3, 0})}, [](const Variables& x) { return ops::sum(x[0], 1); });

  add_along("sum", &ops::sum, &uniform);
  add_along("mean", &ops::mean, &uniform);
  // The differences move one element by 0.002 at most; distinct elements along the axis keep their order.
  add("max", "rows", {distinct({5, 7})}, [](const Variables& x) { return ops::max(x[0], -1); });
  add("max", "rows kept", {distinct({5, 7})}, [](const Variables& x) { return ops::max(x[0], 1, true); });
  add("max", "columns", {fixed({3, 2}, {1, 4, 3, 2, 2, 6})},
      [](const Variables& x) { return ops::max(x[0], 0); });
  add("max", "middle", {fixed({2, 3, 2}, {1, 2, 3, 1, 2, 3, 9, 8, 7, 6, 5, 10})},
      [](const Variables& x) { return ops::max(x[0], 1); });
  add("max", "n=1", {rand({3, 1})}, [](const Variables& x) { return ops::max(x[0], 1); });
  add("max", "no rows", {rand({0, 3})}, [](const Variables& x) { return ops::max(x[0], 1); });
  add("max", "many rows", {distinct({131, 255})}, [](const Variables& x) { return ops::max(x[0], 1); });
  // Equal elements: the first one is chosen. No differences there, but every dtype must agree with f64.
  add("max", "ties", {fixed({2, 4}, {1, 3, 3, 2, 5, 5, 5, 5})}, [](const Variables& x) {
    return ops::max(x[0], 1);
  }).dtypes = {DType::f32, DType::bf16};
  add_error(
      "max", "no such axis", {rand({2, 3})}, [](const Variables& x) { return ops::max(x[0], 2); }, "axis 2");
  add_error(
      "max", "integers", {integers({2, 3}, 0, 5)}, [](const Variables& x) { return ops::max(x[0], 0); },
      "[max] expected a float tensor");
}

}  // namespace simsmoe::testing
