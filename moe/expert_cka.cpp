// See expert_cka.hpp.
#include "moe/expert_cka.hpp"

#include "moe/cka.hpp"
#include "ops/index.hpp"
#include "ops/layout.hpp"

namespace simsmoe::moe {

namespace {

bool chose(std::span<const std::int32_t> choices, std::int64_t t, std::int64_t k, std::int64_t expert) {
  for (std::int64_t j = 0; j < k; ++j)
    if (choices[static_cast<std::size_t>(t * k + j)] == expert) return true;
  return false;
}

}  // namespace

std::vector<PairCka> expert_cka(const Tensor& tokens, const Tensor& choices_in, const Experts& experts,
                                std::int64_t min_tokens, std::int64_t max_tokens) {
  const Tensor choices = choices_in.to(kCpu);
  const auto all = choices.host<std::int32_t>();
  const Variable x_all(tokens);  // a leaf: nothing that follows is recorded for it
  std::vector<PairCka> pairs;
  for (std::int64_t a = 0; a < experts.count(); ++a)
    for (std::int64_t b = a + 1; b < experts.count(); ++b) {
      std::vector<std::int64_t> shared;
      for (std::int64_t t = 0; t < choices.size(0) && static_cast<std::int64_t>(shared.size()) < max_tokens;
           ++t)
        if (chose(all, t, choices.size(1), a) && chose(all, t, choices.size(1), b)) shared.push_back(t);
      const auto n = static_cast<std::int64_t>(shared.size());
      if (n < min_tokens) continue;
      const Variable x = ops::index_select(x_all, Tensor::from(shared, {n}).to(tokens.device()));
      const Tensor y = experts.forward_pair(x, a, b, DType::f32).value();
      const Cka result = cka(Variable(y.slice0(0, n)), Variable(y.slice0(n, 2 * n)), {.debiased = true});
      if (result.value.defined()) pairs.push_back({a, b, n, result.value.value().item()});
    }
  return pairs;
}

}  // namespace simsmoe::moe
