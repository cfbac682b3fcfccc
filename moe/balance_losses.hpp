#pragma once
// Losses that keep a router from sending everything to a few experts. Each is a composition of ops, so its
// gradient comes for free.

#include <string>

#include "engine/tape.hpp"

namespace simsmoe::moe {

enum class BalanceForm : unsigned char { switch_form, reference };
BalanceForm balance_form_from_name(
    const std::string& name);  // "switch", "reference"; UserError names moe.balance

// With f_e = counts[e] / (N k) and P_e = mean_t p_te:
//   switch      E * sum_e f_e P_e          uniform routing: 1   (Fedus et al. 2021, eq. 4-6, for any k)
//   reference   E * sum_e f_e P_e / k      uniform routing: 1/k (the published code of SimSMoE divides P by k, too)
// f counts the choices before any is dropped and is a constant: the gradient flows through P only.
// probabilities: [N, E], N >= 1, mostly softmax(logits); counts: i64 [E] on the host -> []
Variable load_balance_loss(const Variable& probabilities, const Tensor& counts, std::int64_t k,
                           BalanceForm form);

// mean_t logsumexp_e(logits_te)^2: keeps logits small, so that softmax stays exact (Zoph et al. 2022, ST-MoE,
// eq. 5). logits: [N, E], N >= 1 -> []
Variable z_loss(const Variable& logits);

}  // namespace simsmoe::moe
