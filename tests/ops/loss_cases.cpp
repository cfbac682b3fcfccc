#include "ops/loss.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

SMX_CASES(loss) {
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
            "[cross_entropy] expected logits [N, V] and targets [N]");
  add_error("cross_entropy", "three axes", {rand({2, 3, 4}), integers({2}, 0, 4)}, entropy,
            "[cross_entropy] expected logits [N, V] and targets [N]");
  add_error("cross_entropy", "float targets", {rand({3, 4}), rand({3})}, entropy,
            "[cross_entropy] expected an integer tensor");
  add_error("cross_entropy", "integer logits", {integers({3, 4}, 0, 4), integers({3}, 0, 4)}, entropy,
            "[cross_entropy] expected a float tensor");

  // Aliased, the two gradients cancel: x - x is constant.
  add("mse", "3x7", {rand({3, 7}), rand({3, 7})}, squared);
  add("mse", "scalar", {rand({}), rand({})}, squared);
  add("mse", "many elements", {rand({17001}), rand({17001})}, squared);
  add_error("mse", "other shape", {rand({3, 7}), rand({7, 3})}, squared,
            "[mse] expected two tensors of one shape");
  add_error("mse", "empty", {rand({0, 7}), rand({0, 7})}, squared, "[mse] expected two tensors of one shape");
  add_error("mse", "integers", {integers({3}, 0, 5), integers({3}, 0, 5)}, squared,
            "[mse] expected a float tensor");
}

}  // namespace simsmoe::testing
