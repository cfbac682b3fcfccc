// Sums of the auxiliary losses: recorded for the gradient, by name for the log.

#include "nn/context.hpp"

#include "ops/binary.hpp"
#include "ops/unary.hpp"

namespace simsmoe::nn {

void LossTerms::add(std::string name, std::string where, double weight, Variable value) {
  SMX_CHECK(value.defined() && is_float(value.dtype()) && value.value().numel() == 1,
            "[losses] expected a float scalar for '{}' of {}, got {}", name, where,
            value.defined() ? describe(value.value()) : "an undefined variable");
  terms_.push_back({std::move(name), std::move(where), weight, std::move(value)});
}

Variable LossTerms::total() const {
  Variable sum;
  for (const LossTerm& term : terms_) {
    const Variable weighted = ops::scale(term.value, term.weight);
    sum = sum.defined() ? ops::add(sum, weighted) : weighted;
  }
  return sum;
}

std::map<std::string, double> LossTerms::by_name() const {
  std::map<std::string, double> sums;
  for (const LossTerm& term : terms_) sums[term.name] += term.weight * term.value.value().item();
  return sums;
}

}  // namespace simsmoe::nn
