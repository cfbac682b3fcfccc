#include "ops/loss.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

namespace {

using ops::CrossEntropyOptions;
using ops::Reduction;

auto entropy_with(const CrossEntropyOptions& options) {
  return [options](const Variables& x) { return ops::cross_entropy(x[0], x[1].value(), options); };
}

// With class weights as the third input.
auto weighted_with(CrossEntropyOptions options) {
  return [options](const Variables& x) mutable {
    options.class_weights = x[2].value();
    return ops::cross_entropy(x[0], x[1].value(), options);
  };
}

// Every reduction with and without smoothing, weights and ignored rows.
void add_options() {
  const InputSpec logits = rand({6, 5}, -3.0, 3.0), targets = fixed_integers({6}, {0, 4, -1, 2, 2, -1});
  // a Tensor to the op; a class of no weight is legal
  const InputSpec weights = optional(constant(fixed({5}, {0.5, 0.0, 2.0, 1.25, 0.75})));
  for (const auto& [name, reduction] : {std::pair<std::string, Reduction>{"none", Reduction::none},
                                        {"mean", Reduction::mean},
                                        {"sum", Reduction::sum}})
    for (const double smoothing : {0.0, 0.3, 1.0}) {
      const CrossEntropyOptions options{
          .ignore_index = -1, .reduction = reduction, .label_smoothing = smoothing};
      const std::string what = fmt::format("{}, smoothing {}", name, smoothing);
      add("cross_entropy", what, {logits, targets}, entropy_with(options));
      add("cross_entropy", what + ", weights", {logits, targets, weights}, weighted_with(options));
    }
  const CrossEntropyOptions each{.ignore_index = -1, .reduction = Reduction::none};
  const CrossEntropyOptions sum{.ignore_index = -1, .reduction = Reduction::sum};
  const CrossEntropyOptions smooth{.ignore_index = -1, .label_smoothing = 0.1};
  add("cross_entropy", "2x3x5", {rand({2, 3, 5}), integers({2, 3}, -1, 5)}, entropy_with(smooth));
  add("cross_entropy", "2x3x5, none", {rand({2, 3, 5}), integers({2, 3}, -1, 5, DType::i64)},
      entropy_with(each));
  add("cross_entropy", "a vector", {rand({5}), fixed_integers({}, {3})}, entropy_with(smooth));
  add("cross_entropy", "no rows, none", {rand({0, 5}), integers({0}, 0, 5)}, entropy_with(each));
  add("cross_entropy", "no rows, sum", {rand({0, 5}), integers({0}, 0, 5)}, entropy_with(sum));
  const InputSpec ignored = fixed_integers({3}, {-1, -1, -1});
  add("cross_entropy", "all ignored, sum", {rand({3, 5}), ignored}, entropy_with(sum)).zero_gradient = true;
  add("cross_entropy", "all ignored, none", {rand({3, 5}), ignored}, entropy_with(each)).zero_gradient = true;
  add("cross_entropy", "many rows, smooth", {rand({140, 257}, -3.0, 3.0), integers({140}, 0, 257)},
      entropy_with(smooth));
  add("cross_entropy", "huge logits, smooth",
      {fixed({2, 3}, {1000, 998, 997, -2000, -2001, -1998}), fixed_integers({2}, {1, 0})},
      entropy_with(smooth));
  // The first row has a class that cannot be, the second one that is its target.
  add("cross_entropy", "infinities and NaN",
      {fixed({4, 3}, {1, -kInfinity, 0.5, 1, -kInfinity, 0.5, kNan, 1, 0.5, 0.5, 1, 0.25}),
       fixed_integers({4}, {0, 1, 1, 2})},
      entropy_with(each))
      .nonfinite = true;
  add_extremes("cross_entropy", {rand({6, 5}), targets}, entropy_with(smooth));
  const auto shifted = [](double smoothing, Tensor w) {
    return entropy_with({.label_smoothing = smoothing, .class_weights = std::move(w)});
  };
  const std::vector<InputSpec> plain = {rand({3, 4}), integers({3}, 0, 4)};
  add_error("cross_entropy", "smoothing beyond 1", plain, shifted(1.5, {}),
            "[cross_entropy] expected label_smoothing in [0, 1], got 1.5");
  add_error("cross_entropy", "smoothing below 0", plain, shifted(-0.5, {}),
            "[cross_entropy] expected label_smoothing in [0, 1], got -0.5");
  add_error("cross_entropy", "too few weights", {rand({3, 4}), integers({3}, 0, 4), constant(rand({3}))},
            weighted_with({}), "[cross_entropy] expected class_weights");
  add_error("cross_entropy", "integer weights", plain, shifted(0.0, Tensor::full({4}, 1.0, DType::i32)),
            "[cross_entropy] expected class_weights");
}

}  // namespace

SMX_CASES(loss) {
  add_options();
  const auto entropy = [](const Variables& x) { return ops::cross_entropy(x[0], x[1].value()); };
  const auto ignoring = [](std::int64_t index) {
    return [index](const Variables& x) { return ops::cross_entropy(x[0], x[1].value(), index); };
  };
  const auto squared = [](const Variables& x) { return ops::mse(x[0], x[1]); };

  add("cross_entropy", "6x7", {rand({6, 7}, -3.0, 3.0), integers({6}, 0, 7)}, entropy);
  add("cross_entropy", "i64 targets", {rand({6, 7}), integers({6}, 0, 7, DType::i64)}, entropy);
  add("cross_entropy", "one row", {rand({1, 5}), fixed_integers({1}, {4})}, entropy);
  add("cross_entropy", "many rows", {rand({140, 257}, -3.0, 3.0), integers({140}, 0, 257)}, entropy);
  add("cross_entropy", "some ignored", {rand({5, 3}), fixed_integers({5}, {-1, 2, -1, 0, 1})}, ignoring(-1));
  add("cross_entropy", "ignored class", {rand({5, 3}), fixed_integers({5}, {2, 2, 1, 0, 1})}, ignoring(2));
  add("cross_entropy", "one counts", {rand({3, 4}), fixed_integers({3}, {-100, -100, 3})}, ignoring(-100));
  add("cross_entropy", "huge logits",
      {fixed({2, 3}, {1000, 998, 997, -2000, -2001, -1998}), fixed_integers({2}, {1, 0})}, entropy);
  // The only class has probability 1.
  add("cross_entropy", "V=1", {rand({3, 1}), fixed_integers({3}, {0, 0, 0})}, entropy).zero_gradient = true;
  add_error("cross_entropy", "beyond", {rand({3, 4}), fixed_integers({3}, {0, 4, 1})}, entropy,
            "[cross_entropy] targets[1] = 4 is outside [0, 4)");
  add_error("cross_entropy", "negative", {rand({3, 4}), fixed_integers({3}, {0, 1, -1})}, entropy,
            "[cross_entropy] targets[2] = -1 is outside [0, 4)");
  add_error("cross_entropy", "all ignored", {rand({2, 4}), fixed_integers({2}, {-1, -1})}, ignoring(-1),
            "[cross_entropy] expected a row that counts, got 2 rows");
  add_error("cross_entropy", "no rows", {rand({0, 4}), integers({0}, 0, 4)}, entropy,
            "[cross_entropy] expected a row that counts, got 0 rows");
  add_error("cross_entropy", "other rows", {rand({3, 4}), integers({2}, 0, 4)}, entropy,
            "[cross_entropy] expected logits [..., V] and targets [...]");
  add_error("cross_entropy", "three axes", {rand({2, 3, 4}), integers({2}, 0, 4)}, entropy,
            "[cross_entropy] expected logits [..., V] and targets [...]");
  add_error("cross_entropy", "scalar", {rand({}), integers({}, 0, 4)}, entropy,
            "[cross_entropy] expected logits [..., V] and targets [...]");
  add_error("cross_entropy", "float targets", {rand({3, 4}), rand({3})}, entropy,
            "[cross_entropy] expected an integer tensor");
  add_error("cross_entropy", "integer logits", {integers({3, 4}, 0, 4), integers({3}, 0, 4)}, entropy,
            "[cross_entropy] expected a float tensor");

  // Aliased, the two gradients cancel: x - x is constant.
  add("mse", "3x7", {rand({3, 7}), rand({3, 7})}, squared);
  add("mse", "scalar", {rand({}), rand({})}, squared);
  add("mse", "many elements", {rand({17001}), rand({17001})}, squared);
  add("mse", "infinities and NaN", {fixed({4}, {kInfinity, kNan, 1, 2}), fixed({4}, {1, 1, -kInfinity, 0.5})},
      squared)
      .nonfinite = true;
  add_extremes("mse", {rand({3, 7}), rand({3, 7})}, squared);
  add_error("mse", "other shape", {rand({3, 7}), rand({7, 3})}, squared,
            "[mse] expected two tensors of one shape");
  add_error("mse", "empty", {rand({0, 7}), rand({0, 7})}, squared, "[mse] expected two tensors of one shape");
  add_error("mse", "integers", {integers({3}, 0, 5), integers({3}, 0, 5)}, squared,
            "[mse] expected a float tensor");
}

}  // namespace simsmoe::testing
