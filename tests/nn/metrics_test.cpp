// How numbers of several passes become one, and who learns from them when.

#include "nn/metrics.hpp"

#include "engine/index_fault.hpp"
#include "nn/context.hpp"
#include "nn/observations.hpp"
#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

namespace {

using Numbers = std::map<std::string, double>;

// Counts its notes by value, in a buffer of its own.
class Adder : public Learner {
 public:
  explicit Adder(std::vector<std::string>& log, std::string name) : log_(log), name_(std::move(name)) {}
  void end_step(std::span<const Tensor> seen, std::uint64_t step) const override {
    std::string line = fmt::format("{} at {}:", name_, step);
    for (const Tensor& note : seen) line += note.defined() ? fmt::format(" {}", note.item()) : " -";
    log_.push_back(line);
  }

 private:
  std::vector<std::string>& log_;
  std::string name_;
};

}  // namespace

TEST_CASE("metrics: each way to combine, over layers and passes") {
  Metrics first, second, third;
  for (const auto how : {Combine::mean, Combine::per_pass, Combine::sum, Combine::last, Combine::max}) {
    const std::string name = fmt::format("m{}", static_cast<int>(how));
    first.add("a", name, 6.0, how);
    first.add("a", name, 1.0, how);
    third.add("a", name, 2.0, how);
  }
  first.merge(second);
  first.merge(third);
  CHECK(first.read() == Numbers{{"a/m0", 3.0}, {"a/m1", 3.0}, {"a/m2", 9.0}, {"a/m3", 2.0}, {"a/m4", 6.0}});
  CHECK(second.empty());
  CHECK_FALSE(first.empty());
}

TEST_CASE("metrics: those of no pass take in any number of passes, and no maximum hides a NaN") {
  Metrics all = Metrics::of_no_pass(), one;
  one.add("", "part", 4.0, Combine::per_pass);
  one.add("", "max", 1.0, Combine::max);
  all.merge(one);
  all.merge(one);
  CHECK(all.read() == Numbers{{"part", 4.0}, {"max", 1.0}});
  one.add("", "max", std::nan(""), Combine::max);
  one.add("", "max", 2.0, Combine::max);
  CHECK(std::isnan(one.read().at("max")));
  std::vector<double> besides;
  CHECK(all.read({Tensor::scalar(7.0), Tensor::scalar(8.0)}, besides) == all.read());
  CHECK(besides == std::vector<double>{7.0, 8.0});
}

TEST_CASE("metrics: places, factors, values as they were, and what is refused") {
  Metrics metrics;
  const Tensor value = Tensor::full({1, 1}, 2.0, DType::bf16);
  metrics.add("", "plain", value, Combine::sum, 0.5);
  metrics.add("layers.1", "share", 0.25, Combine::mean);
  metrics.add("layers.3", "share", 0.75, Combine::mean);
  metrics.add("layers.3", "other", 5.0, Combine::mean);
  value.fill(9.0);
  metrics.gather("valid", "share");
  CHECK(metrics.read() == Numbers{{"plain", 1.0},
                                  {"layers.1/share", 0.25},
                                  {"layers.3/share", 0.75},
                                  {"layers.3/other", 5.0},
                                  {"valid/share", 0.5}});
  CHECK_THROWS_WITH_AS(metrics.add("layers.1", "share", 1.0, Combine::max),
                       "[metrics] 'share' of 'layers.1' is combined in two ways", Error);
  CHECK_THROWS_WITH_AS(metrics.add("", "pair", Tensor::zeros({2}, DType::i64), Combine::mean),
                       doctest::Contains("[metrics] expected floats for 'pair'"), Error);
  Metrics other;
  other.add("layers.1", "share", 1.0, Combine::max);
  CHECK_THROWS_AS(metrics.merge(other), Error);
}

TEST_CASE(
    "a metric of several elements is combined element by element, and read under its name and their number") {
  Metrics all = Metrics::of_no_pass();
  for (const double x : {1.0, 3.0}) {
    Metrics pass;
    pass.add("layer", "before", x, Combine::last);
    pass.add("layer", "load", Tensor::from(std::vector<double>{x, 10.0 * x}, {2}), Combine::mean);
    pass.add("layer", "after", 5.0 * x, Combine::last);
    all.merge(pass);
  }
  CHECK(all.read() ==
        std::map<std::string, double>{
            {"layer/before", 3.0}, {"layer/load.0", 2.0}, {"layer/load.1", 20.0}, {"layer/after", 15.0}});
  CHECK_THROWS_WITH_AS(all.add("layer", "load", 1.0, Combine::mean),
                       "[metrics] 'load' of 'layer' has 1 elements, and had 2", Error);
}

TEST_CASE("read_scalars brings an index fault of the same device to light, once") {
  const Tensor number = Tensor::full({}, 1.5, DType::f32), note = index_fault_note(kCpu);
  CHECK(read_scalars({number}).front() == 1.5);
  const std::int64_t first = index_fault_op("gather"), op = index_fault_op("embedding");
  CHECK(first != op);
  CHECK(index_fault_op("embedding") == op);
  note.copy_from(Tensor::from(std::vector<std::int64_t>{op, 3, -7, 11}, {4}));
  CHECK_THROWS_WITH_AS(read_scalars({number}), "[embedding] indices[3] = -7 is outside [0, 11)", Error);
  CHECK(read_scalars({number, number}).back() == 1.5);
}

TEST_CASE("read_scalars: in order, whatever their dtypes and shapes") {
  CHECK(read_scalars({Tensor::full({}, 1.5, DType::f32), Tensor::full({1, 1}, 1e300, DType::f64),
                      Tensor::full({2}, -2.0, DType::bf16)}) == std::vector<double>{1.5, 1e300, -2.0, -2.0});
  CHECK(read_scalars({}).empty());
}

TEST_CASE("losses: reported by name as the mean over the passes, those that are only declared as 0") {
  const auto scalar = [](double value) { return Variable(Tensor::full({}, value, DType::f64)); };
  Metrics sum;
  for (const double value : {4.0, 8.0}) {
    LossTerms losses;
    losses.add("balance", "layers.0", 0.5, scalar(value));
    losses.add("balance", "layers.1", 0.25, scalar(value));
    losses.declare("similarity");
    if (value > 5.0) losses.add("similarity", "layers.1", 2.0, scalar(1.0));
    CHECK(losses.names() == std::set<std::string>{"balance", "similarity"});
    Metrics metrics;
    losses.report(metrics, "train");
    if (sum.empty())
      sum = metrics;
    else
      sum.merge(metrics);
  }
  CHECK(sum.read() == Numbers{{"train/balance", 4.5}, {"train/similarity", 1.0}});
}

TEST_CASE("observations: each learner learns once, from its notes in order, when the owner says so") {
  std::vector<std::string> log;
  const Adder a(log, "a"), b(log, "b");
  Observations observed;
  observed.note(b, Tensor::scalar(1.0));
  observed.note(a, {});
  observed.note(b, Tensor::scalar(2.0));
  CHECK(log.empty());
  REQUIRE(observed.noted(b).size() == 2);
  CHECK(observed.noted(b)[1].item() == 2.0);
  observed.end_step(7);
  CHECK(log == std::vector<std::string>{"b at 7: 1 2", "a at 7: -"});
  CHECK(observed.noted(a).empty());
  observed.end_step(8);  // nothing was noted since
  CHECK(log.size() == 2);
  observed.note(b, Tensor::scalar(3.0));
  observed.end_step(9);
  CHECK(log.back() == "b at 9: 3");  // the notes of a step are forgotten with it
}

TEST_CASE("observations: the learners of a group learn from all that is noted under its name") {
  std::vector<std::string> log;
  const Adder a(log, "a"), b(log, "b"), other(log, "other");
  Observations observed;
  observed.note(a, Tensor::scalar(1.0), "layers");
  observed.note(other, Tensor::scalar(5.0));
  observed.note(b, Tensor::scalar(2.0), "layers");
  observed.end_step(0);
  CHECK(log == std::vector<std::string>{"a at 0: 1 2", "other at 0: 5", "b at 0: 1 2"});
}

TEST_CASE("sum_of adds notes of one shape") {
  const std::vector<Tensor> notes = {Tensor::from(std::vector<double>{1, 2}, {2}),
                                     Tensor::from(std::vector<double>{10, 20}, {2})};
  CHECK(sum_of(notes).to_vector<double>() == std::vector<double>{11, 22});
  CHECK_THROWS_AS(sum_of({}), Error);
}

}  // namespace simsmoe::nn
