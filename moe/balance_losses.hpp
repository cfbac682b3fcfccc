#pragma once
// Losses that keep a router from sending everything to a few experts. Each is a composition of ops, so its
// gradient comes for free.

#include <span>

#include "engine/tape.hpp"
#include "nn/fields.hpp"

namespace simsmoe::moe {

// How a load balance loss counts.
struct BalanceForm {
  bool first_choice = false;  // only the first of a token's k choices counts
  bool per_sequence = false;  // each sequence on its own, then the mean
  bool divide_by_k = false;
  bool global = false;  // f also counts the earlier micro-batches of the step
};

// The values of moe.balance:
//   switch                 {}                             Fedus et al. 2021, eq. 4-6, for any k
//   first_choice           {first_choice}                 GShard; also the original of `switch`, where k = 1
//   sequence               {per_sequence}                 the language models of LibMoE
//   sequence_first_choice  {per_sequence, first_choice}   the vision-language models of LibMoE and CompeteSMoE 2
//   reference              {divide_by_k}                  SimSMoE and CompeteSMoE 1, which divide P by k, too
//   global                 {global}                       Qiu et al. 2025 (Demons in the detail, arXiv 2501.11873)
//   auto                   MoeOptions::balance_form() says which
enum class Balance : unsigned char {
  automatic,
  all_choices,
  first_choice,
  sequence,
  sequence_first_choice,
  reference,
  global
};
constexpr auto enum_names(Balance) {
  return std::to_array<std::string_view>(
      {"auto", "switch", "first_choice", "sequence", "sequence_first_choice", "reference", "global"});
}
BalanceForm form_of(Balance balance);  // not of automatic

// With f_e the share of the choices that counts which fell on e, and P_e = mean_t p_te:
//   L = E * sum_e f_e P_e      uniform routing: 1, collapsed: E      (divide_by_k: divided by k)
// f counts the choices before any is dropped and is a constant: the gradient flows through P only.
// probabilities: [N, E], N >= 1, mostly softmax(logits); experts: i32 [N, K], first choice first; sequence: tokens of
// one sequence, a divisor of N; earlier: of the form global, the choice_counts of the step's earlier micro-batches, which
// f counts as well -> []
Variable load_balance_loss(const Variable& probabilities, const Tensor& experts, std::int64_t sequence,
                           BalanceForm form, std::span<const Tensor> earlier = {});
// How many choices fell on each expert: what `earlier` is made of. experts: i32 [N, K] -> f64 [1, E]
Tensor counts_of_batch(const Tensor& experts, std::int64_t num_experts);

// mean_t logsumexp_e(logits_te)^2: keeps logits small, so that softmax stays exact (Zoph et al. 2022, ST-MoE,
// eq. 5). logits: [N, E], N >= 1 -> []
Variable z_loss(const Variable& logits);

}  // namespace simsmoe::moe
