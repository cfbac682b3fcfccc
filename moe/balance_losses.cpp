// The two losses as compositions of ops; formulas and sources are in the header.
#include "moe/balance_losses.hpp"

#include "ops/binary.hpp"
#include "ops/choices.hpp"
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
          .divide_by_k = balance == Balance::reference,
          .global = balance == Balance::global};
}

Variable load_balance_loss(const Variable& probabilities, const Tensor& experts, std::int64_t sequence,
                           BalanceForm form, std::span<const Tensor> earlier) {
  const std::int64_t tokens = probabilities.size(0), all = probabilities.size(1), k = experts.size(1);
  SMX_CHECK(experts.size(0) == tokens, "[load_balance_loss] expected the experts of {} tokens, got {}",
            tokens, describe(experts));
  const std::int64_t length = form.per_sequence ? sequence : tokens;
  SMX_CHECK(length > 0 && tokens % length == 0, "[load_balance_loss] {} tokens are no sequences of {}",
            tokens, length);
  const std::int64_t sequences = tokens / length, counted = form.first_choice ? 1 : k;

  // E f_e / S of each sequence: [S, E]
  Variable counts(ops::choice_counts(experts, all, length, counted, DType::f64));
  for (const Tensor& batch : earlier) counts = ops::add(counts, Variable(batch));
  const double batches = 1.0 + static_cast<double>(earlier.size());  // of one size
  const double choices = batches * static_cast<double>(tokens * counted * (form.divide_by_k ? k : 1));
  const Variable slope = ops::scale(counts, static_cast<double>(all) / choices);
  const Variable mean = ops::mean(ops::reshape(probabilities, {sequences, length, all}), 1);  // [S, E]
  return ops::sum(ops::mul(mean, ops::cast(slope, probabilities.dtype())));
}

Tensor counts_of_batch(const Tensor& experts, std::int64_t num_experts) {
  return ops::choice_counts(experts, num_experts, experts.size(0), 0, DType::f64);
}

Variable z_loss(const Variable& logits) { return ops::mean(ops::square(ops::logsumexp(logits))); }

}  // namespace simsmoe::moe
