#include "engine/tape.hpp"

#include "tests/engine/support.hpp"
#include "tests/engine/tiny_ops.hpp"

// Variables alone, and from which of them backward may start.

using namespace simsmoe;
using namespace simsmoe::testing;
using Doubles = std::vector<double>;

TEST_CASE("variable: misuse is refused") {
  const Variable x = leaf({1, 2}, "x");
  const Tensor whole = Tensor::zeros({2}, DType::i32);
  CHECK(message_of([] { Variable(Tensor(), false, "w"); }) == "[variable] 'w' has no value");
  CHECK(message_of([&] { Variable(whole, true, "w"); }) ==
        "[variable] 'w' is i32 [2]: only floats have gradients");
  CHECK(message_of([&] { Variable(whole, false, "w").set_requires_grad(true); }) ==
        "[variable] 'w' is i32 [2]: only floats have gradients");
  CHECK(message_of([] { Variable().value(); }) == "[variable] undefined variable");
  CHECK(contains(message_of([&] { x.set_grad(Tensor::scalar(1.0)); }), "gradient f64 [] of f64 [2] 'x'"));
  CHECK_THROWS_AS(x.set_grad(Tensor()), Error);
  CHECK_THROWS_AS(x.set_value(Tensor::scalar(1.0)), Error);
  CHECK(contains(message_of([&] { x.set_value(Tensor::zeros({2}, DType::f32)); }),
                 "value f32 [2] for f64 [2] 'x'"));
  CHECK_THROWS_AS(x.set_value(Tensor()), Error);
  Tape tape;
  const Variable y = multiply(x, x);
  CHECK_THROWS_AS(y.set_grad(y.value()), Error);
  CHECK_THROWS_AS(y.set_value(y.value()), Error);
  CHECK(message_of([&] { y.set_requires_grad(false); }) ==
        "[variable] set_requires_grad on the result of an op");
}

TEST_CASE("variable: copies are one Variable, detach() is another with the same memory") {
  const Variable x = leaf({1, 2}, "x"), same = x, apart = x.detach();
  CHECK(same.same_as(x));
  CHECK(same.id() == x.id());
  CHECK_FALSE(apart.same_as(x));
  CHECK_FALSE(apart.requires_grad());
  CHECK(apart.value().shares_memory_with(x.value()));
  x.set_grad(Tensor::from(Doubles{5, 6}, {2}));
  CHECK(grad_of(same) == Doubles{5, 6});
  x.set_value(Tensor::from(Doubles{7, 8}, {2}));
  CHECK(same.value().to_vector<double>() == Doubles{7, 8});
  x.set_requires_grad(false);
  CHECK_FALSE(same.requires_grad());
  CHECK(x.name() == "x");
}

TEST_CASE("variable: set_grad copies, share_grad does not") {
  const Variable a = leaf({3}), b = leaf({2}), one(Tensor::from(Doubles{1}, {1}));
  const Tensor grad = Tensor::zeros({1}, DType::f64);
  const auto add = [&](const Variable& x, double dy) {
    Tape tape;
    tape.backward(multiply(x, one), Tensor::from(Doubles{dy}, {1}));
  };
  a.set_grad(grad);
  b.set_grad(grad);
  add(a, 3.0);
  add(b, 2.0);
  CHECK(grad_of(a) == Doubles{3});
  CHECK(grad_of(b) == Doubles{2});
  CHECK(grad.item() == 0.0);
  a.share_grad(grad);
  add(a, 3.0);
  CHECK(grad.item() == 3.0);
  CHECK(contains(message_of([&] { a.share_grad(Tensor::zeros({1}, DType::f32)); }),
                 "gradient f32 [1] of f64 [1]"));
}

TEST_CASE("backward from several results is backward from the sum of their products") {
  const auto gradient = [](bool together) {
    const Variable x = leaf({3, -1});
    Tape tape;
    const Variables y = twice_and_thrice(x);
    const Variable square = multiply(y[0], x);
    const Tensor one = Tensor::from(Doubles{1, 10}, {2}), two = Tensor::from(Doubles{5, 7}, {2});
    if (together) {
      tape.backward({y[1], square}, {one, two});
    } else {
      const Variable a = multiply(y[1], Variable(one)), b = multiply(square, Variable(two));
      tape.backward({a, b}, {Tensor::full({2}, 1.0, DType::f64), Tensor::full({2}, 1.0, DType::f64)});
    }
    return x.grad().to_vector<double>();
  };
  CHECK(gradient(true) == Doubles{3 * 1 + 4 * 3 * 5, 3 * 10 - 4 * 1 * 7});
  CHECK(gradient(true) == gradient(false));

  const Variable x = leaf({2});
  Tape tape;
  const Variable y = multiply(x, x);
  CHECK(message_of([&] { tape.backward(Variables{y}, std::vector<Tensor>{}); }) ==
        "[backward] 0 gradients for 1 results");
  CHECK(message_of([&] { tape.backward(Variables{}, std::vector<Tensor>{}); }) ==
        "[backward] 0 gradients for 0 results");
  tape.backward(y);  // a refused call left nothing behind
  CHECK(x.grad().item() == 4.0);
}

TEST_CASE("backward starts from leaves too, and from one Variable under two names") {
  const Tensor two = Tensor::from(Doubles{2, 20}, {2}), five = Tensor::from(Doubles{5, 50}, {2});
  const Variable x = leaf({3, 4}), constant = x.detach();
  {
    Tape tape;
    CHECK(contains(message_of([&] { tape.backward(constant, two); }), "depends on no Variable"));
    tape.backward(x, two);
  }
  CHECK(grad_of(x) == Doubles{2, 20});
  CHECK_FALSE(x.grad().shares_memory_with(two));
  {
    Tape tape;
    tape.backward(x, five);
  }
  CHECK(grad_of(x) == Doubles{7, 70});
  x.clear_grad();
  {
    Tape tape;
    const Variable y = multiply(x, constant);
    tape.backward({y, x, y, x}, {two, five, five, two});
  }
  CHECK(grad_of(x) == Doubles{7 * 3 + 7, 70 * 4 + 70});
  CHECK(two.to_vector<double>() == Doubles{2, 20});
  CHECK(five.to_vector<double>() == Doubles{5, 50});
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Variable narrow(Tensor::full({2}, 1.0, dtype), true);
    const Tensor dy = Tensor::full({2}, 1.5, dtype);
    Tape tape;
    tape.backward({narrow, narrow, narrow}, {dy, dy, dy});
    CHECK(grad_of(narrow) == Doubles{4.5, 4.5});
  }
}

TEST_CASE("backward only reads the gradients that it is given") {
  const Variable x = leaf({3});
  const Tensor dy = Tensor::from(Doubles{1}, {1});
  Tape tape;
  const Variable y = multiply(x, x), z = multiply(y, x);
  tape.backward({y, z}, {dy, dy});  // z's closure adds to the gradient of y
  CHECK(grad_of(x) == Doubles{2 * 3 + 3 * 9});
  CHECK(dy.item() == 1.0);
}
