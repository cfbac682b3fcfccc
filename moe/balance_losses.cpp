// The two losses as compositions of ops; formulas and sources are in the header.
#include "moe/balance_losses.hpp"

#include "ops/binary.hpp"
#include "ops/layout.hpp"
#include "ops/reduce.hpp"
#include "ops/softmax.hpp"
#include "ops/unary.hpp"

namespace simsmoe::moe {

BalanceForm form_of(Balance balance) {
  SMX_CHECK(balance != Balance::automatic, "[balance] expected a form, got auto");
  const bool sequence = balance == Balance::sequence || balance == Balance::sequence_first_choice;
  return {.first_choice = balance == Balance::first_choice || balance == Balance::sequence_first_choice,
          .per_sequence = sequence,
          .divide_by_k = balance == Balance::reference};
}

Variable load_balance_loss(const Variable& probabilities, const Tensor& experts, std::int64_t sequence,
                           BalanceForm form) {
  const std::int64_t tokens = probabilities.size(0), all = probabilities.size(1), k = experts.size(1);
  SMX_CHECK(experts.size(0) == tokens, "[load_balance_loss] expected the experts of {} tokens, got {}",
            tokens, describe(experts));
  const std::int64_t length = form.per_sequence ? sequence : tokens;
  SMX_CHECK(length > 0 && tokens % length == 0, "[load_balance_loss] {} tokens are no sequences of {}",
            tokens, length);
  const std::int64_t sequences = tokens / length, counted = form.first_choice ? 1 : k;

  // slope[s, e] = E f_e / S, with f_e within sequence s. [S, E]
  std::vector<double> slope(static_cast<std::size_t>(sequences * all), 0.0);
  const std::vector<std::int64_t> choice = experts.to_vector<std::int64_t>();
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t j = 0; j < counted; ++j)
      if (const std::int64_t e = choice[static_cast<std::size_t>(t * k + j)]; e >= 0)
        slope[static_cast<std::size_t>(t / length * all + e)] += 1.0;
  const auto divisor = static_cast<double>(tokens * counted * (form.divide_by_k ? k : 1));
  for (double& count : slope) count *= static_cast<double>(all) / divisor;

  const Variable mean = ops::mean(ops::reshape(probabilities, {sequences, length, all}), 1);  // [S, E]
  const Tensor constant =
      Tensor::from(slope, {sequences, all}).to(probabilities.dtype()).to(probabilities.device());
  return ops::sum(ops::mul(mean, Variable(constant)));
}

Variable z_loss(const Variable& logits) { return ops::mean(ops::square(ops::logsumexp(logits))); }

}  // namespace simsmoe::moe
