// Pair by pair: what both computed on the tokens that they share.
#include "moe/expert_cka.hpp"

#include <algorithm>

#include "moe/cka.hpp"
#include "ops/choices.hpp"
#include "ops/index.hpp"

namespace simsmoe::moe {

std::vector<PairCka> expert_cka(const Tensor& tokens, const Tensor& choices, const Experts& experts,
                                std::int64_t min_tokens, std::int64_t max_tokens) {
  const std::int64_t all = experts.count();
  const std::vector<double> met = ops::count_pairs(choices, all, DType::f64).to_vector<double>();
  const Variable x_all(tokens);  // a leaf: nothing that follows is recorded for it
  std::vector<PairCka> pairs;
  for (std::int64_t a = 0; a < all; ++a)
    for (std::int64_t b = a + 1; b < all; ++b) {
      const auto count =
          static_cast<std::int64_t>(met[static_cast<std::size_t>(ops::pair_number(a, b, all))]);
      if (count < min_tokens) continue;
      const std::int64_t n = std::min(count, max_tokens);
      const Tensor shared = ops::tokens_of_pair(choices, a, b).slice0(0, n);
      const Tensor y = experts.forward_pair(ops::index_select(x_all, shared), a, b, DType::f32).value();
      const Cka result = cka(Variable(y.slice0(0, n)), Variable(y.slice0(n, 2 * n)), {.debiased = true});
      if (result.value.defined()) pairs.push_back({a, b, n, result.value.value().item()});
    }
  return pairs;
}

}  // namespace simsmoe::moe
