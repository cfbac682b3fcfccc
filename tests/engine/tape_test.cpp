#include "engine/tape.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "engine/caching_allocator.hpp"
#include "tests/engine/support.hpp"
#include "tests/engine/tiny_ops.hpp"

using namespace simsmoe;
using namespace simsmoe::testing;

namespace {

using Doubles = std::vector<double>;

std::size_t bytes_in_use() { return allocator(kCpu).stats().in_use_bytes; }

// y = x; runs `visit` during backward, and passes the gradient on when it is wanted.
Variable probe(const Variable& x, std::function<void(BackwardContext&)> visit,
               std::string_view name = "probe") {
  const Tensor one = Tensor::full(x.shape(), 1.0, DType::f64);
  return record(name, {x}, x.value().clone(), [one, visit = std::move(visit)](BackwardContext& ctx) {
    visit(ctx);
    write_product(ctx.target(0), ctx.grad_output(), one);
  });
}

// f(x) whose backward computes f again instead of keeping what lies between.
Variable checkpoint(Variable (*f)(const Variable&), const Variable& x) {
  const Tensor y = f(x.detach()).value();
  return record("checkpoint", {x}, y, [f, x = x.value()](BackwardContext& ctx) {
    Tape inner;
    const Variable input(x, true);
    const Variable output = f(input);
    inner.backward(output, ctx.grad_output());
    write_product(ctx.target(0), input.grad(), Tensor::full(x.shape(), 1.0, DType::f64));
  });
}

Variable cube(const Variable& x) { return multiply(multiply(x, x), x); }

}  // namespace

TEST_CASE("tape rule 1: nothing is recorded during backward and no cycle keeps memory") {
  const std::size_t before = bytes_in_use();
  {
    const Variable x = leaf({3});
    Tape tape;
    const Variable y = probe(multiply(x, x), [x](BackwardContext&) { multiply(x, x); });  // breaks the rule
    CHECK(message_of([&] { tape.backward(y); }) ==
          "[multiply] recorded on a tape that has already run backward");
  }
  {
    const Variable x = leaf({3});
    Tape tape;
    cube(cube(x));  // abandoned without backward
  }
  CHECK(bytes_in_use() == before);
}

TEST_CASE("tape rule 2: a Variable passed twice accumulates") {
  const Variable x = leaf({3, -2});
  Tape tape;
  tape.backward(multiply(x, x), Tensor::from(Doubles{1, 10}, {2}));
  CHECK(grad_of(x) == Doubles{6, -40});
}

TEST_CASE("tape rule 3: nodes run in reverse order of creation, those without a gradient not at all") {
  std::vector<int> order;
  const Variable x = leaf({2});
  Tape tape;
  const auto step = [&](const Variable& v, int id) {
    return probe(v, [&order, id](BackwardContext&) { order.push_back(id); });
  };
  const Variable a = step(x, 1), b = step(x, 2), unused = step(a, 3);
  const Variable y = step(multiply(a, b), 4);
  step(y, 5);  // after the loss
  tape.backward(y);
  CHECK(order == std::vector<int>{4, 2, 1});
  CHECK(grad_of(x) == Doubles{4});
  CHECK_FALSE(unused.grad().defined());
}

TEST_CASE("tape rule 4: intermediate gradients are dropped, those of leaves stay and add up") {
  const Variable x = leaf({3});
  {
    Tape tape;
    Variable h;
    bool dropped = false;
    const Variable first = probe(x, [&](BackwardContext&) { dropped = !h.grad().defined(); });
    h = multiply(first, first);
    const Variable y = multiply(h, h);
    tape.backward(y);
    CHECK(dropped);  // h was done when the first node ran
    CHECK_FALSE(y.grad().defined());
    CHECK_FALSE(first.grad().defined());
    CHECK(grad_of(x) == Doubles{4 * 27});
  }
  const auto square = [&] {
    Tape tape;
    tape.backward(multiply(x, x));
  };
  square();
  CHECK(grad_of(x) == Doubles{4 * 27 + 6});
  x.clear_grad();
  CHECK_FALSE(x.grad().defined());
  square();
  CHECK(grad_of(x) == Doubles{6});
}

TEST_CASE("tape rule 4: backward frees what was saved as it goes") {
  const Variable x(Tensor::full({1000}, 1.0, DType::f64), true);
  Tape tape;
  std::size_t at_the_first_node = 0;
  Variable y = probe(x, [&](BackwardContext&) { at_the_first_node = bytes_in_use(); });
  for (int i = 0; i < 20; ++i) y = cube(y);
  const std::size_t recorded = bytes_in_use();
  tape.backward(y, Tensor::full({1000}, 1.0, DType::f64));
  CHECK(recorded > 40 * 8000);
  CHECK(at_the_first_node < 8 * 8192);
  CHECK(tape.nodes().empty());
}

TEST_CASE("tape rule 5: a tape is single-use") {
  const Variable x = leaf({3});
  Tape tape;
  const Variable y = multiply(x, x);
  tape.backward(y);
  CHECK(contains(message_of([&] { tape.backward(y); }),
                 "a tape is single-use, and second derivatives are not supported"));
  CHECK(message_of([&] { multiply(x, x); }) == "[multiply] recorded on a tape that has already run backward");
}

TEST_CASE("tape rule 6: a leaf's memory may change once backward has emptied the tape") {
  const Variable x = leaf({3});
  {
    Tape tape;
    const Variable y = multiply(x, x);
    CHECK_FALSE(y.value().shares_memory_with(x.value()));
    tape.backward(y);
    CHECK(tape.nodes().empty());
    x.value().fill(5.0);  // what an optimizer's kernel does
  }
  x.clear_grad();
  Tape tape;
  tape.backward(multiply(x, x));
  CHECK(grad_of(x) == Doubles{10});
}

TEST_CASE("tape rule 7: recomputation on an inner tape gives the same gradient") {
  const Variable x = leaf({2, -3}), z = leaf({2, -3});
  const Tensor dy = Tensor::from(Doubles{1, 0.5}, {2});
  Tape tape;
  const Variable y = multiply(checkpoint(cube, x), x);
  CHECK(tape.nodes().size() == 2);  // what f did inside was not kept
  tape.backward(y, dy);
  CHECK(Tape::current() == &tape);
  Tape direct;
  direct.backward(multiply(cube(z), z), dy);
  CHECK(grad_of(x) == grad_of(z));
}

TEST_CASE("tape rule 8: a result of one tape is no input of another") {
  const Variable x = leaf({3});
  std::optional<Tape> first(std::in_place);
  const Variable y = multiply(x, x);
  const std::string wanted =
      "[multiply] input 1 was computed on another tape, where no gradient would arrive: detach() it";
  {
    Tape inner;
    CHECK(message_of([&] { multiply(x, y); }) == wanted);
    inner.backward(multiply(x, y.detach()));
    CHECK(grad_of(x) == Doubles{9});
  }
  first.reset();
  Tape second;
  CHECK(message_of([&] { multiply(x, y); }) == wanted);
}

TEST_CASE("tape rule 9: a debug build notices what changed between forward and backward") {
  const auto backward_after = [](const std::function<void(const Variable&, const Variable&)>& change) {
    const Variable x = leaf({3}), constant(Tensor::scalar(2.0).view({1}));
    Tape tape;
    const Variable y = multiply(multiply(x, constant), constant);
    change(x, constant);
    return message_of([&] { tape.backward(y); });
  };
#ifdef NDEBUG
  const std::string wanted;
#else
  const std::string wanted = "[multiply] a tensor kept for backward, f64 [1], was changed after the op ran";
#endif
  CHECK(backward_after([](const Variable& x, const Variable&) { x.value().fill(5.0); }) == wanted);
  CHECK(backward_after([](const Variable& x, const Variable&) { x.value().copy_from(x.value().clone()); }) ==
        wanted);
  CHECK(backward_after([](const Variable&, const Variable& c) { c.value().host<double>()[0] = 1.0; }) ==
        wanted);
  CHECK(backward_after([](const Variable&, const Variable& c) { c.value().view({}).fill(1.0); }) == wanted);
  // Reading leaves what was saved as it was, and so does replacing the whole value.
  CHECK(backward_after([](const Variable& x, const Variable& c) {
          x.value().host<const double>();
          c.value().item();
          x.set_value(Tensor::from(Doubles{7}, {1}));
        }) == "");
  // A list, not only a member.
  const Variable x = leaf({3});
  const std::vector<Tensor> kept{Tensor::full({2}, 1.0, DType::f32)};
  Tape tape;
  const Variable y = record("listed", {x}, x.value().clone(), [kept](BackwardContext& ctx) {
    ctx.target(0).buffer.fill(kept.front().to_vector<double>()[0]);
  });
  kept.front().note_change();
#ifdef NDEBUG
  CHECK(message_of([&] { tape.backward(y); }) == "");
#else
  CHECK(message_of([&] { tape.backward(y); }) ==
        "[listed] a tensor kept for backward, f32 [2], was changed after the op ran");
#endif
}

TEST_CASE("tape: gradients that add up are changes of their memory") {
  const Variable x = leaf({3});
  const auto pass = [&] {
    Tape tape;
    tape.backward(record("kernel", {x}, x.value().clone(), [](BackwardContext& ctx) {
      *ctx.target(0).buffer.data<double>() = 1.0;  // as kernels write, unnoticed
    }));
  };
  pass();
  const std::uint64_t before = x.grad().version();
  pass();
  CHECK(x.grad().version() > before);
}

TEST_CASE("tape: without a tape or a need nothing is recorded and memory is freed") {
  const Variable x = leaf({3}), constant(Tensor::scalar(2.0).view({1}));
  const std::size_t before = bytes_in_use();
  CHECK_FALSE(cube(x).requires_grad());
  CHECK(bytes_in_use() == before);
  Tape tape;
  CHECK_FALSE(cube(constant).requires_grad());
  CHECK_FALSE(cube(x.detach()).requires_grad());
  CHECK(tape.nodes().empty());
  CHECK(bytes_in_use() == before);
  CHECK(multiply(constant, x).requires_grad());
  CHECK(tape.nodes().size() == 1);
}

TEST_CASE("tape: the first contribution overwrites garbage, later ones add") {
  const Variable x = leaf({3});
  std::vector<bool> accumulate;
  const auto note = [&](BackwardContext& ctx) {
    const GradTarget target = ctx.target(0);
    accumulate.push_back(target.accumulate);
    if (!target.accumulate) target.buffer.fill(std::numeric_limits<double>::quiet_NaN());
    CHECK(target.buffer.shape() == Shape{1});
  };
  const Variable constant(Tensor::scalar(2.0).view({1}));
  Tape tape;
  const auto branch = [&] {
    return record("branch", {x, constant}, x.value().clone(), [&](BackwardContext& ctx) {
      CHECK(ctx.wants(0));
      CHECK_FALSE(ctx.wants(1));
      CHECK(message_of([&] { ctx.target(1); }) ==
            "[branch] backward asked for the gradient of input 1, which needs none");
      CHECK(message_of([&] { ctx.wants(2); }) == "[branch] backward asked for input 2 of 2");
      CHECK_THROWS_AS(ctx.grad_output(-1), Error);
      note(ctx);
    });
  };
  const Variable a = branch(), b = branch();
  tape.backward(multiply(a, b));
  CHECK(accumulate == std::vector<bool>{false, true});
}

TEST_CASE("tape: an unused output brings a gradient of zeros") {
  const Variable x = leaf({1, 4});
  Tape tape;
  const Variables outputs = twice_and_thrice(x);
  tape.backward(outputs[1], Tensor::from(Doubles{1, 10}, {2}));
  CHECK(grad_of(x) == Doubles{3, 30});
}

TEST_CASE("tape: optional inputs may be undefined") {
  const Variable x = leaf({3});
  Tape tape;
  const Variable y = record("optional", {Variable(), x}, x.value().clone(), [](BackwardContext& ctx) {
    CHECK_FALSE(ctx.wants(0));
    write_product(ctx.target(1), ctx.grad_output(), Tensor::full({1}, 7.0, DType::f64));
  });
  tape.backward(y);
  CHECK(grad_of(x) == Doubles{7});
}

TEST_CASE("tape: the observer sees each node's gradients before they are dropped") {
  const Variable x = leaf({0});
  Tape tape;
  std::vector<std::string> seen;
  tape.set_observer([&](const Node& node) {
    CHECK(node.outputs[0].grad().defined());
    CHECK(node.inputs[0].grad().defined());
    seen.emplace_back(node.op);
  });
  tape.backward(probe(multiply(x, x), [](BackwardContext&) {}));
  CHECK(seen == std::vector<std::string>{"probe", "multiply"});
}

TEST_CASE("tape: backward refuses what has no gradient here") {
  const Variable x = leaf({3, 4});
  Tape tape;
  const Variable y = multiply(x, x);
  CHECK(contains(message_of([&] { tape.backward(y); }), "the loss must have one element, got f64 [2]"));
  CHECK(contains(message_of([&] { tape.backward(y, Tensor::scalar(1.0)); }),
                 "gradient f64 [] for a result f64 [2]"));
  CHECK(contains(message_of([&] { tape.backward(y, Tensor::zeros({2}, DType::f32)); }), "gradient f32 [2]"));
  CHECK(contains(message_of([&] { tape.backward(leaf({1}).detach()); }), "depends on no Variable"));
  CHECK(contains(message_of([&] { tape.backward(Variable()); }), "undefined variable"));
  Tape inner;
  CHECK(contains(message_of([&] { inner.backward(y, y.value()); }), "was not computed on this tape"));
}

TEST_CASE("tape: only floats are differentiable") {
  const Variable x = leaf({3});
  Tape tape;
  CHECK(message_of([&] { record("argmax", {x}, Tensor::zeros({1}, DType::i64), [](BackwardContext&) {}); }) ==
        "[argmax] recorded an output of dtype i64: only floats are differentiable");
}

TEST_CASE("tape: the names of recorded ops are remembered") {
  Tape tape;
  multiply(leaf({1}), leaf({1}));
  const std::vector<std::string> names = recorded_ops();
  CHECK(std::ranges::count(names, "multiply") == 1);
  CHECK(std::ranges::is_sorted(names));
}
