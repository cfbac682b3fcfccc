#include "ops/norm.hpp"

#include "tests/support/op_case.hpp"

namespace simsmoe::testing {

SMX_CASES(norm) {
  const auto layer = [](const Variables& x) { return ops::layer_norm(x[0], x[1], x[2]); };
  const auto rms = [](const Variables& x) { return ops::rms_norm(x[0], x[1]); };
  const auto plain = [](const Variables& x) { return ops::layer_norm(x[0], {}, {}); };

  const InputSpec weight7 = optional(rand({7}));
  const InputSpec special =
      fixed({4, 3}, {0.5, -1, 2, kInfinity, 1, 0.5, -kInfinity, 1, kInfinity, 0.5, kNan, 1});

  add("layer_norm", "3x7", {rand({3, 7}), weight7, weight7}, layer);
  add("layer_norm", "2x3x5", {rand({2, 3, 5}), optional(rand({5})), optional(rand({5}))}, layer);
  add("layer_norm", "one row", {rand({6}), optional(rand({6})), optional(rand({6}))}, layer);
  add("layer_norm", "no rows", {rand({0, 4}), optional(rand({4})), optional(rand({4}))}, layer)
      .zero_gradient = true;
  add("layer_norm", "many rows", {rand({140, 257}), optional(rand({257})), optional(rand({257}))}, layer);
  add("layer_norm", "no parameters", {rand({3, 7})}, plain);
  add("layer_norm", "weight only", {rand({3, 7}), weight7},
      [](const Variables& x) { return ops::layer_norm(x[0], x[1], {}); });
  add("layer_norm", "bias only", {rand({3, 7}), weight7},
      [](const Variables& x) { return ops::layer_norm(x[0], {}, x[1]); });
  add("layer_norm", "large eps", {rand({3, 7})},
      [](const Variables& x) { return ops::layer_norm(x[0], {}, {}, 0.5); });
  // The variance must come from the differences: E[x^2] - mean^2 has no digit left in f32.
  add("layer_norm", "large mean", {rand({3, 8}, 4096.0, 4352.0)}, plain);
  // x - mean is zero, and stays so whatever x does.
  add("layer_norm", "D=1", {rand({3, 1})}, plain).zero_gradient = true;
  add("layer_norm", "infinities and NaN", {special, optional(rand({3})), optional(rand({3}))}, layer)
      .nonfinite = true;
  // The squares overflow f32, the result does not.
  add_extremes("layer_norm", {rand({3, 7}), weight7, weight7}, layer);
  add("layer_norm", "huge, no parameters", {rand({3, 7}, -1e30, 1e30)}, plain).extreme = true;
  add_error("layer_norm", "integers", {integers({2, 3}, 0, 5)}, plain,
            "[layer_norm] expected a float tensor");
  add_error("layer_norm", "scalar", {rand({})}, plain, "[layer_norm] expected x [..., D]");
  add_error("layer_norm", "empty rows", {rand({3, 0})}, plain, "[layer_norm] expected x [..., D]");
  add_error("layer_norm", "short weight", {rand({2, 3}), rand({2}), rand({3})}, layer,
            "[layer_norm] expected weight [3]");
  add_error("layer_norm", "square bias", {rand({2, 3}), rand({3}), rand({3, 3})}, layer,
            "[layer_norm] expected bias [3]");
  add_error("layer_norm", "integer weight", {rand({2, 3}), integers({3}, 0, 5), rand({3})}, layer,
            "[layer_norm] operands differ");
  add_error(
      "layer_norm", "eps 0", {rand({2, 3})},
      [](const Variables& x) { return ops::layer_norm(x[0], {}, {}, 0.0); }, "[layer_norm] expected eps > 0");

  add("rms_norm", "3x7", {rand({3, 7}), weight7}, rms);
  add("rms_norm", "2x3x5", {rand({2, 3, 5}), optional(rand({5}))}, rms);
  add("rms_norm", "one row", {rand({6}), optional(rand({6}))}, rms);
  add("rms_norm", "no rows", {rand({0, 4}), optional(rand({4}))}, rms).zero_gradient = true;
  add("rms_norm", "many rows", {rand({140, 257}), optional(rand({257}))}, rms);
  add("rms_norm", "no weight", {rand({3, 7})}, [](const Variables& x) { return ops::rms_norm(x[0], {}); });
  add("rms_norm", "large eps", {rand({3, 7})},
      [](const Variables& x) { return ops::rms_norm(x[0], {}, 0.5); });
  add("rms_norm", "infinities and NaN", {special, optional(rand({3}))}, rms).nonfinite = true;
  add_extremes("rms_norm", {rand({3, 7}), weight7}, rms);
  add("rms_norm", "huge, no weight", {rand({3, 7}, -1e30, 1e30)}, [](const Variables& x) {
    return ops::rms_norm(x[0], {});
  }).extreme = true;
  add_error("rms_norm", "integers", {integers({2, 3}, 0, 5), rand({3})}, rms,
            "[rms_norm] expected a float tensor");
  add_error("rms_norm", "empty rows", {rand({3, 0}), rand({0})}, rms, "[rms_norm] expected x [..., D]");
  add_error("rms_norm", "short weight", {rand({2, 3}), rand({2})}, rms, "[rms_norm] expected weight [3]");
  add_error(
      "rms_norm", "negative eps", {rand({2, 3})},
      [](const Variables& x) { return ops::rms_norm(x[0], {}, -1.0); }, "[rms_norm] expected eps > 0");
}

}  // namespace simsmoe::testing
