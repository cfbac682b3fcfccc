// Notes by learner or by group.

#include "nn/observations.hpp"

#include <algorithm>

#include "ops/binary.hpp"

namespace simsmoe::nn {

void Observations::note(const Learner& learner, Tensor seen, const std::string& group) {
  if (std::ranges::find(learners_, &learner, &Entry::learner) == learners_.end())
    learners_.push_back(
        {&learner, group.empty() ? fmt::format("{}", static_cast<const void*>(&learner)) : group});
  notes_[std::ranges::find(learners_, &learner, &Entry::learner)->key].push_back(std::move(seen));
}

std::span<const Tensor> Observations::noted(const Learner& learner) const {
  const auto known = std::ranges::find(learners_, &learner, &Entry::learner);
  return known == learners_.end() ? std::span<const Tensor>() : notes_.at(known->key);
}

void Observations::end_step(std::uint64_t step) {
  for (const Entry& entry : learners_) entry.learner->end_step(notes_.at(entry.key), step);
  learners_.clear();
  notes_.clear();
}

Tensor sum_of(std::span<const Tensor> seen) {
  SMX_CHECK(!seen.empty(), "[observations] a sum of nothing");
  Variable sum(seen.front());
  for (const Tensor& next : seen.subspan(1)) sum = ops::add(sum, Variable(next));
  return sum.value();
}

}  // namespace simsmoe::nn
