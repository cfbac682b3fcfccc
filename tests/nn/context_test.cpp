// What passes leave for later ones.

#include "nn/context.hpp"

#include "ops/optimizer.hpp"
#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

TEST_CASE("memo: values are made again when one of their sources is another tensor or was changed") {
  const Variable a(Tensor::full({2}, 1.0, DType::f64), true, "a"),
      b(Tensor::full({3}, 2.0, DType::f64), true, "b");
  Memo memo;
  int made = 0;
  const auto get = [&](const std::string& path, const Variables& sources) {
    return memo.get(path, sources, [&]() -> Variables { return {Variable(Tensor::scalar(double(++made)))}; })
        .at(0)
        .value()
        .item();
  };
  CHECK(get("x", {a, b}) == 1.0);
  CHECK(get("x", {a, b}) == 1.0);
  CHECK(get("y", {a, b}) == 2.0);  // another path
  b.value().fill(3.0);
  CHECK(get("x", {a, b}) == 3.0);
  CHECK(get("x", {a, b}) == 3.0);
  CHECK(get("y", {a, b}) == 4.0);
  a.value().host<double>()[0] = 5.0;
  CHECK(get("x", {a, b}) == 5.0);
  a.value().copy_from(Tensor::full({2}, 1.0, DType::f64));
  CHECK(get("x", {a, b}) == 6.0);
  a.set_value(a.value().clone());
  CHECK(get("x", {a, b}) == 7.0);
  ops::sgd_step({{.parameter = b.value(), .gradient = b.value().clone(), .momentum = {}}}, {});
  CHECK(get("y", {a, b}) == 8.0);
  CHECK(get("x", {a, b}) == 9.0);
  CHECK(get("x", {b, a}) == 10.0);
  CHECK(get("x", {b}) == 11.0);
  CHECK(get("x", {b, Variable()}) == 12.0);  // an optional parameter that there is not
  CHECK(get("x", {b, Variable()}) == 12.0);
  CHECK(get("x", {b, a}) == 13.0);
  CHECK(memo.size() == 2);
}

}  // namespace simsmoe::nn
