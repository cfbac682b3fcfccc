// Names, adoption of preloaded tensors, random streams and errors of the parameter store; auxiliary losses.

#include "nn/scope.hpp"

#include "nn/init.hpp"
#include "nn/layers.hpp"
#include "ops/unary.hpp"
#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

using testing::normal;
using testing::same_bits;

TEST_CASE("a parameter has its full dotted name and its options") {
  ParameterStore store(1);
  const Scope scope = Scope(store) / "decoder" / "layers.3";
  const Variable weight = scope.parameter("weight", {2, 3}, init::ones());
  const Variable frozen = scope.parameter("frozen", {4}, init::zeros(), {.trainable = false, .decay = false});
  CHECK(weight.name() == "decoder.layers.3.weight");
  CHECK(weight.requires_grad());
  CHECK_FALSE(frozen.requires_grad());
  REQUIRE(store.parameters().size() == 2);
  CHECK(store.parameters()[0].variable.same_as(weight));
  CHECK(store.find("decoder.layers.3.frozen")->variable.same_as(frozen));
  CHECK_FALSE(store.find("decoder.layers.3.frozen")->options.decay);
  CHECK(store.find("decoder.layers.3.other") == nullptr);
  CHECK(store.num_elements() == 10);
  CHECK(store.num_elements(true) == 6);
}

TEST_CASE("a name can be taken once, by parameters and buffers together") {
  ParameterStore store(1);
  const Scope scope = Scope(store) / "a";
  scope.parameter("x", {1}, init::ones());
  scope.buffer("count", {2}, DType::i64, 3.0);
  CHECK(store.buffers().front().name == "a.count");
  CHECK(store.buffers().front().tensor.to_vector<double>() == std::vector<double>{3.0, 3.0});
  CHECK_THROWS_WITH_AS(scope.parameter("x", {1}, init::ones()), "[store] 'a.x' exists already", Error);
  CHECK_THROWS_AS(scope.parameter("count", {1}, init::ones()), Error);
  CHECK_THROWS_AS(scope.buffer("x", {1}, DType::f32), Error);
  CHECK_THROWS_AS(scope.parameter("", {1}, init::ones()), Error);
}

TEST_CASE("adding a layer changes no other parameter's start") {
  ParameterStore small(7), large(7), other_seed(8);
  const Variable a = (Scope(small) / "a").parameter("w", {5, 5}, init::normal(1.0));
  (Scope(large) / "new").parameter("w", {9}, init::normal(1.0));
  const Variable b = (Scope(large) / "a").parameter("w", {5, 5}, init::normal(1.0));
  const Variable c = (Scope(other_seed) / "a").parameter("w", {5, 5}, init::normal(1.0));
  CHECK(same_bits(a.value(), b.value()));
  CHECK_FALSE(same_bits(a.value(), c.value()));
}

TEST_CASE("keys are functions of seed and path") {
  ParameterStore store(7);
  const Scope scope = Scope(store) / "a";
  CHECK(scope.key("dropout").seed == 7);
  CHECK(scope.key("dropout").stream == stream_of("a.dropout"));
  CHECK(scope.key("dropout").stream != (Scope(store) / "b").key("dropout").stream);
}

TEST_CASE("preloaded tensors are adopted, converted and not shared") {
  const Tensor source = normal({2, 2}, "source", DType::f64);
  ParameterStore store(1, DType::f32);
  store.preload({{"w", source}, {"n", Tensor::from(std::vector<std::int64_t>{5}, {1})}, {"extra", source}});
  const Scope scope(store);
  const Variable w = scope.parameter("w", {2, 2}, init::zeros());
  const Tensor n = scope.buffer("n", {1}, DType::i64);
  CHECK(same_bits(w.value(), source.to(DType::f32)));
  CHECK(n.item() == 5.0);
  CHECK(store.load_report().ignored == std::vector<std::string>{"extra"});

  ParameterStore alike(1, DType::f64);
  alike.preload({{"w", source}});
  CHECK_FALSE(Scope(alike).parameter("w", {2, 2}, init::zeros()).value().shares_memory_with(source));
}

TEST_CASE("preloaded tensors of another model are refused") {
  ParameterStore store(1);
  store.preload({{"w", normal({2, 2}, "w", DType::f32)}});
  const Scope scope(store);
  CHECK_THROWS_WITH_AS(scope.parameter("w", {2, 3}, init::zeros()),
                       "checkpoint is of another model: tensor w is [2, 2] there and [2, 3] here", UserError);
  CHECK_THROWS_WITH_AS(scope.parameter("v", {4}, init::zeros()),
                       "checkpoint is of another model: it lacks tensor v [4]", UserError);
  CHECK_THROWS_AS(scope.buffer("b", {4}, DType::i64), UserError);
  store.require_preloaded(false);
  CHECK(scope.parameter("v", {4}, init::ones()).value().to_vector<double>().front() == 1.0);
  CHECK_THROWS_AS(store.preload({}), Error);
}

TEST_CASE("the report of a load names what was adopted, drawn anew and left over") {
  const Tensor two = normal({2}, "two", DType::f32);
  ParameterStore store(1);
  store.preload({{"body", two}, {"old.head", two}, {"count", two}, {"old.bias", two}});
  store.require_preloaded(false);
  CHECK(store.load_report().ignored ==
        std::vector<std::string>{"body", "count", "old.bias", "old.head"});  // nobody has asked yet
  const Scope scope(store);
  const Tensor count = scope.buffer("count", {2}, DType::f32);
  const Variable head = scope.parameter("head", {3}, init::ones());
  const Variable body = scope.parameter("body", {2}, init::ones());
  scope.buffer("steps", {1}, DType::i64, 7.0);
  const LoadReport report = store.load_report();
  CHECK(report.loaded == std::vector<std::string>{"count", "body"});
  CHECK(report.initialised == std::vector<std::string>{"head", "steps"});
  CHECK(report.ignored == std::vector<std::string>{"old.bias", "old.head"});
  CHECK(same_bits(body.value(), two));
  CHECK(same_bits(count, two));
  CHECK(head.value().to_vector<double>() == std::vector<double>{1.0, 1.0, 1.0});

  ParameterStore fresh(1);
  Scope(fresh).parameter("w", {1}, init::ones());
  CHECK(fresh.load_report().loaded.empty());
  CHECK(fresh.load_report().initialised == std::vector<std::string>{"w"});
  CHECK(fresh.load_report().ignored.empty());
}

TEST_CASE("a load that failed adopts nothing") {
  ParameterStore store(1);
  store.preload({{"w", normal({2, 2}, "w", DType::f32)}});
  CHECK_THROWS_AS(Scope(store).parameter("w", {2, 3}, init::zeros()), UserError);
  CHECK_THROWS_AS(Scope(store).parameter("v", {1}, init::zeros()), UserError);
  CHECK(store.load_report().loaded.empty());
  CHECK(store.load_report().initialised.empty());
  CHECK(store.load_report().ignored == std::vector<std::string>{"w"});
  CHECK(store.parameters().empty());
  CHECK_THROWS_WITH_AS(ParameterStore(1).preload({{"w", {}}, {"w", {}}}),
                       "[store] tensor 'w' is preloaded twice", Error);
}

TEST_CASE("clear_grads releases every gradient") {
  ParameterStore store(1);
  const Variable w = Scope(store).parameter("w", {3}, init::ones());
  w.set_grad(Tensor::zeros({3}, DType::f32));
  store.clear_grads();
  CHECK_FALSE(w.grad().defined());
}

TEST_CASE("auxiliary losses add up with their weights, and the gradient arrives") {
  const Variable x(Tensor::scalar(2.0), true), y(Tensor::scalar(5.0), true);
  LossTerms losses;
  CHECK_FALSE(losses.total().defined());
  Tape tape;
  losses.add("balance", "layer 0", 0.5, ops::square(x));
  losses.add("balance", "layer 1", 0.25, y);
  losses.add("z", "layer 0", 2.0, x);
  const Variable total = losses.total();
  CHECK(total.value().item() == doctest::Approx(0.5 * 4 + 0.25 * 5 + 2 * 2));
  CHECK(losses.by_name() == std::map<std::string, double>{{"balance", 3.25}, {"z", 4.0}});
  tape.backward(total);
  CHECK(x.grad().item() == doctest::Approx(0.5 * 2 * 2 + 2.0));
  CHECK(y.grad().item() == doctest::Approx(0.25));
  CHECK_THROWS_AS(losses.add("bad", "here", 1.0, Variable(Tensor::zeros({2}, DType::f32))), Error);
  CHECK_THROWS_AS(losses.add("bad", "here", 1.0, {}), Error);
  losses.clear();
  CHECK(losses.terms().empty());
}

}  // namespace simsmoe::nn
