// Sums of the auxiliary losses: recorded for the gradient, by name for the log.

#include "nn/context.hpp"

#include <algorithm>
#include <utility>

#include "ops/binary.hpp"
#include "ops/unary.hpp"

namespace simsmoe::nn {

void LossTerms::add(std::string name, std::string where, double weight, Variable value) {
  SMX_CHECK(value.defined() && is_float(value.dtype()) && value.value().numel() == 1,
            "[losses] expected a float scalar for '{}' of {}, got {}", name, where,
            value.defined() ? describe(value.value()) : "an undefined variable");
  names_.insert(name);
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
  std::vector<Tensor> scalars;
  for (const LossTerm& term : terms_) scalars.push_back(term.value.value());
  const std::vector<double> values = read_scalars(scalars);
  std::map<std::string, double> sums;
  for (std::size_t i = 0; i < terms_.size(); ++i) sums[terms_[i].name] += terms_[i].weight * values[i];
  return sums;
}

void LossTerms::report(Metrics& metrics, const std::string& where) const {
  for (const std::string& name : names_) metrics.add(where, name, 0.0, Combine::per_pass);
  for (const LossTerm& term : terms_)
    metrics.add(where, term.name, term.value.value(), Combine::per_pass, term.weight);
}

Variables Memo::get(const std::string& path, const Variables& sources,
                    const std::function<Variables()>& make) {
  Kept now;
  for (const Variable& source : sources) {
    now.sources.push_back(source.defined() ? source.value() : Tensor());
    now.versions.push_back(source.defined() ? source.value().version() : 0);
  }
  const auto same = [](const Tensor& a, const Tensor& b) {
    return a.defined() ? a.shares_memory_with(b) : !b.defined();
  };
  Kept& kept = kept_[path];
  if (kept.values.empty() || kept.versions != now.versions ||
      !std::ranges::equal(kept.sources, now.sources, same)) {
    now.values = make();
    kept = std::move(now);
  }
  return kept.values;
}

ForwardContext ForwardContext::settings() const {
  ForwardContext same = *this;
  same.losses = {};
  same.metrics = {};
  same.observed = {};
  same.memo = {};
  return same;
}

}  // namespace simsmoe::nn
