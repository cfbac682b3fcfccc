#include "ops/routing.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

namespace {

// y = gather(x) with the plan of the experts in x[1].
auto gathered(std::int64_t num_experts) {
  return [=](const Variables& x) {
    return ops::gather_tokens(x[0], ops::stable_partition(x[1].value(), num_experts));
  };
}

// y = combine(h, weights) with the plan of the experts in x[2].
auto combined(std::int64_t num_experts) {
  return [=](const Variables& x) {
    return ops::combine_tokens(x[0], x[1], ops::stable_partition(x[2].value(), num_experts));
  };
}

}  // namespace

SMX_CASES(routing) {
  // Six tokens with two choices of five experts: expert 4 gets none, three copies are dropped, token 3
  // wholly.
  const InputSpec experts = fixed_integers({6, 2}, {0, 2, -1, 1, 2, 0, -1, -1, 3, 1, 1, 0});
  add("gather_tokens", "dropped copies", {rand({6, 5}), experts}, gathered(5));
  add("gather_tokens", "k=1", {rand({6, 5}), integers({6, 1}, 0, 3)}, gathered(3));
  add("gather_tokens", "twice the same expert", {rand({2, 3}), fixed_integers({2, 2}, {1, 1, 0, 1})},
      gathered(2));
  add("gather_tokens", "all dropped", {rand({2, 3}), fixed_integers({2, 2}, {-1, -1, -1, -1})}, gathered(2))
      .zero_gradient = true;
  add("gather_tokens", "no tokens", {rand({0, 3}), integers({0, 2}, 0, 4)}, gathered(4));
  add("gather_tokens", "many tokens", {rand({200, 67}), integers({200, 3}, -1, 7)}, gathered(7));
  const InputSpec special = fixed({3, 2}, {kInfinity, 0.5, kNan, -kInfinity, 0.25, 1.0});
  add("gather_tokens", "infinities and NaN", {special, fixed_integers({3, 2}, {0, 1, 1, -1, 1, 0})},
      gathered(2))
      .nonfinite = true;
  add_extremes("gather_tokens", {rand({6, 5}), experts}, gathered(5));
  add_error("gather_tokens", "other tokens", {rand({5, 3}), experts}, gathered(5),
            "[gather_tokens] expected x [6, D]");
  add_error("gather_tokens", "three axes", {rand({6, 3, 2}), experts}, gathered(5),
            "[gather_tokens] expected a matrix");
  add_error(
      "gather_tokens", "no plan", {rand({6, 3})},
      [](const Variables& x) { return ops::gather_tokens(x[0], {}); }, "[gather_tokens] expected a plan");
  add_error("gather_tokens", "expert beyond", {rand({2, 3}), fixed_integers({2, 1}, {0, 4})}, gathered(4),
            "experts[1] = 4 is outside [-1, 4)");
  add_error("gather_tokens", "expert below", {rand({2, 3}), fixed_integers({2, 1}, {-2, 0})}, gathered(4),
            "experts[0] = -2 is outside [-1, 4)");
  add_error("gather_tokens", "i64 experts", {rand({2, 3}), integers({2, 1}, 0, 4, DType::i64)}, gathered(4),
            "[stable_partition] expected experts i32");

  add("combine_tokens", "dropped copies", {rand({9, 5}), rand({6, 2}), experts}, combined(5));
  add("combine_tokens", "k=1", {rand({6, 5}), rand({6, 1}), integers({6, 1}, 0, 3)}, combined(3));
  add("combine_tokens", "square",
      {rand({4, 2}), rand({4, 2}), fixed_integers({4, 2}, {0, 1, -1, 0, -1, 1, -1, -1})},
      combined(2));  // h and weights of one shape: they may be one Variable
  add("combine_tokens", "all dropped", {rand({0, 3}), rand({2, 2}), fixed_integers({2, 2}, {-1, -1, -1, -1})},
      combined(2))
      .zero_gradient = true;
  add("combine_tokens", "no tokens", {rand({0, 3}), rand({0, 2}), integers({0, 2}, 0, 4)}, combined(4));
  add("combine_tokens", "many tokens", {rand({600, 67}), rand({200, 3}), integers({200, 3}, 0, 7)},
      combined(7));
  add("combine_tokens", "infinities and NaN",
      {special, fixed({2, 2}, {0.5, kInfinity, 1.0, 0.25}), fixed_integers({2, 2}, {0, 1, -1, 0})},
      combined(2))
      .nonfinite = true;
  add_extremes("combine_tokens", {rand({9, 5}), rand({6, 2}), experts}, combined(5));
  add("combine_tokens", "huge and tiny", {rand({9, 5}, -1e30, 1e30), rand({6, 2}, -1e-30, 1e-30), experts},
      combined(5))
      .extreme = true;
  add_error("combine_tokens", "other rows", {rand({8, 5}), rand({6, 2}), experts}, combined(5),
            "[combine_tokens] expected h [9, D]");
  add_error("combine_tokens", "other weights", {rand({9, 5}), rand({6, 3}), experts}, combined(5),
            "[combine_tokens] expected weights [6, 2]");
  add_error("combine_tokens", "integer weights", {rand({9, 5}), integers({6, 2}, 0, 2), experts}, combined(5),
            "[combine_tokens] operands differ");
}

}  // namespace simsmoe::testing
