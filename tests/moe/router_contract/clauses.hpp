#pragma once
// The clauses, one function each: it throws a Breach when the router does not keep it, and returns at once
// when the router does not promise it.

#include "tests/moe/router_contract/bench.hpp"

namespace simsmoe::testing {

using Clause = void(const Promise& promise);

// choices.cpp
Clause weights_are_as_promised;  // finite, in order, with their sum
Clause plan_is_valid;            // k different experts per token, offsets and positions agree
Clause choices_follow_logits;    // the k largest
Clause ties_go_to_lowest;
Clause permutation_permutes;    // of the tokens and their ids
Clause tokens_are_independent;  // a part of the tokens is treated as it was among all
Clause every_k_is_served;       // in evaluation

// learning.cpp
Clause gradient_arrives;         // from task and losses, at every trainable parameter and no frozen one
Clause task_teaches;             // from the task alone
Clause numeric_gradient_agrees;  // of the whole layer, through its input and every parameter
Clause stopped_losses_spare_experts;
Clause uniform_balance_is_as_promised;
Clause scores_stay_exact;    // weights, logits and losses are f32 when the rest is bf16
Clause account_is_complete;  // as many parameters as the store holds

// state.cpp
Clause pass_is_a_function;          // training: the same context gives the same bits, gradients included
Clause only_the_owner_applies;      // passes and gradients alone change nothing
Clause evaluation_draws_nothing;    // any draw and any step give the same bits
Clause evaluation_changes_nothing;  // neither parameters nor buffers, nor what comes out
Clause training_draws_as_promised;
Clause training_changes_as_promised;
Clause resuming_gives_same_bits;  // save, load into a fresh layer, continue

// extremes.cpp
Clause few_tokens_are_fine;      // none, one, fewer than experts
Clause idle_experts_are_fine;    // all tokens alike: some experts get them all, the others none
Clause full_experts_are_fine;    // a capacity that drops nearly everything
Clause huge_scores_are_finite;   // f32 and f64
Clause equal_scores_are_finite;  // f32 and f64

}  // namespace simsmoe::testing
