#pragma once
// Pairs of experts that meet: both are among the choices of one token.

#include <algorithm>
#include <span>
#include <vector>

#include "engine/tensor.hpp"

namespace simsmoe::moe {

struct ExpertPair {
  std::int64_t a, b;  // a < b
  bool operator<(ExpertPair other) const { return a != other.a ? a < other.a : b < other.b; }
};

// The choices of token t; -1: not made. choices: i32 [N, K] on the host
inline std::span<const std::int32_t> choices_of(const Tensor& choices, std::int64_t t) {
  const auto k = static_cast<std::size_t>(choices.size(1));
  return choices.host<std::int32_t>().subspan(static_cast<std::size_t>(t) * k, k);
}

// Calls f(pair) for every token and every two of the experts that it chose.
template <class F>
void for_each_pair(const Tensor& choices, F&& f) {
  for (std::int64_t t = 0; t < choices.size(0); ++t) {
    const auto mine = choices_of(choices, t);
    for (std::size_t i = 0; i < mine.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (mine[i] >= 0 && mine[j] >= 0)
          f(ExpertPair{std::min(mine[i], mine[j]), std::max(mine[i], mine[j])});
  }
}

// The tokens that chose both, in order.
inline std::vector<std::int64_t> shared_tokens(const Tensor& choices, ExpertPair pair) {
  std::vector<std::int64_t> shared;
  for (std::int64_t t = 0; t < choices.size(0); ++t) {
    const auto mine = choices_of(choices, t);
    if (std::ranges::find(mine, pair.a) != mine.end() && std::ranges::find(mine, pair.b) != mine.end())
      shared.push_back(t);
  }
  return shared;
}

}  // namespace simsmoe::moe
