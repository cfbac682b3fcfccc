// See expert_cka.hpp.
#include "moe/expert_cka.hpp"

#include <map>

#include "moe/cka.hpp"
#include "moe/expert_pairs.hpp"
#include "ops/index.hpp"
#include "ops/layout.hpp"

namespace simsmoe::moe {

std::vector<PairCka> expert_cka(const Tensor& tokens, const Tensor& choices_in, const Experts& experts,
                                std::int64_t min_tokens, std::int64_t max_tokens) {
  const Tensor choices = choices_in.to(kCpu);
  std::map<ExpertPair, std::int64_t> met;
  for_each_pair(choices, [&](ExpertPair pair) { ++met[pair]; });
  const Variable x_all(tokens);  // a leaf: nothing that follows is recorded for it
  std::vector<PairCka> pairs;
  for (const auto& [pair, count] : met) {
    if (count < min_tokens) continue;
    std::vector<std::int64_t> shared = shared_tokens(choices, pair);
    const std::int64_t n = std::min(count, max_tokens);
    shared.resize(static_cast<std::size_t>(n));
    const Variable x = ops::index_select(x_all, Tensor::from(shared, {n}).to(tokens.device()));
    const Tensor y = experts.forward_pair(x, pair.a, pair.b, DType::f32).value();
    const Cka result = cka(Variable(y.slice0(0, n)), Variable(y.slice0(n, 2 * n)), {.debiased = true});
    if (result.value.defined()) pairs.push_back({pair.a, pair.b, n, result.value.value().item()});
  }
  return pairs;
}

}  // namespace simsmoe::moe
