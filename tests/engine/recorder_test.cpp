#include "engine/tape.hpp"

#include <optional>

#include "tests/engine/support.hpp"
#include "tests/engine/tiny_ops.hpp"

// Which of the tapes and pauses that are alive records.

using namespace simsmoe;
using namespace simsmoe::testing;
using Doubles = std::vector<double>;

TEST_CASE("tape: the innermost tape records") {
  CHECK(Tape::current() == nullptr);
  const Variable x = leaf({3});
  {
    Tape outer;
    {
      Tape inner;
      CHECK(Tape::current() == &inner);
      multiply(x, x);
      CHECK(inner.nodes().size() == 1);
    }
    CHECK(Tape::current() == &outer);
    CHECK(outer.nodes().empty());
  }
  CHECK(Tape::current() == nullptr);
}

TEST_CASE("tape: tapes and pauses may end in any order") {
  const Variable x = leaf({3});
  std::optional<Tape> outer(std::in_place), inner(std::in_place);
  const Variable y = multiply(x, x);
  std::optional<TapePause> pause(std::in_place);
  outer.reset();
  CHECK(Tape::current() == nullptr);
  CHECK_FALSE(multiply(x, x).requires_grad());
  CHECK(pause->missed());
  std::optional<Tape> innermost(std::in_place);
  pause.reset();
  CHECK(Tape::current() == &*innermost);
  inner->backward(y);  // not the one that records
  CHECK(grad_of(x) == Doubles{6});
  innermost.reset();
  CHECK(Tape::current() == &*inner);
  inner.reset();
  CHECK(Tape::current() == nullptr);
  CHECK_FALSE(multiply(x, x).requires_grad());
}

TEST_CASE("a pause records nothing, says what it missed, and ends") {
  const Variable x = leaf({2}), constant(Tensor::full({1}, 3.0, DType::f64));
  Tape tape;
  {
    const TapePause pause;
    CHECK(Tape::current() == nullptr);
    multiply(constant, constant);
    CHECK_FALSE(pause.missed());
    {
      const TapePause inner;
      CHECK_FALSE(multiply(x, x).requires_grad());
      CHECK(inner.missed());
    }
    CHECK_FALSE(pause.missed());
    Tape recording;  // within a pause
    CHECK(multiply(x, x).requires_grad());
    CHECK_FALSE(pause.missed());
  }
  CHECK(Tape::current() == &tape);
  CHECK(tape.nodes().empty());
  CHECK(multiply(x, x).requires_grad());
}
