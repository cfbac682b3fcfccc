#pragma once
// What every router owes to the layer, to training and to whoever resumes it, as a suite that runs on any
// router: those of moe/routers and one of your own.
//
//   Promise promise{.name = "cosine"};
//   promise.options.custom_router = {.name = "cosine", .make = make_cosine_router};
//   for (const Violation& v : check_router(promise)) fmt::print("{}: {}\n", v.clause, v.message);
//
// Some of the contract is the same for all (nothing is NaN, a pass is a function, a resumed run continues with the
// same bits); the rest is what the router says of itself in its Promise. A router that
// behaves differently in phases of the training (stages, competitions, a growing k) makes one promise per
// phase. apps/examples/own_router is a whole example; moe/README.md lists the clauses.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "moe/options.hpp"

namespace simsmoe::testing {

// What the weights of one token sum to. Of choices that were not made (-1) none counts, so a token that lacks
// a choice may have less.
enum class WeightSum : unsigned char {
  one,
  // 1, but at most 1 where a token trains with a single expert: a weight of 1 would teach the router nothing. In the
  // variant reference always 1, and so it is (moe::KSchedule::select).
  one_of_several,
  at_most_one,
  not_negative  // and free otherwise
};

// How many experts a token has.
enum class ChoiceCount : unsigned char {
  exactly_k,
  up_to_k_in_training,  // exactly k in evaluation
  any                   // none to all of its columns, -1 where an expert was not chosen
};

// What the router changes, besides gradients and losses, when the owner of the step lets it learn from a training pass.
enum class Changes : unsigned char { nothing, buffers, parameters };

// Few enough numbers to differentiate them all by differences: E = 4, k = 2, F = 6, all biases, both losses.
moe::MoeOptions contract_options();

struct Promise {
  std::string name;
  moe::MoeOptions options = contract_options();
  nn::Site site = {.dim = 6, .vocab = 11, .steps = 40};  // where the layer stands; dim: D, at least E
  std::uint64_t step = 0;                                // at which training passes run
  std::int64_t training_k = 0;                           // experts per token at that step; 0: options.k
  std::int64_t columns = 0;                              // K where `count` is any; 0: E

  WeightSum weights = WeightSum::one_of_several;
  ChoiceCount count = ChoiceCount::exactly_k;
  bool descending = true;       // the weights of a token
  bool top_k_of_logits = true;  // the choices are the k largest logits
  bool ties_to_lowest = true;   // with all parameters 0 every token chooses 0 .. k - 1
  bool token_by_token = true;   // what happens to a token does not depend on the others
  bool any_k = true;            // evaluation serves every ctx.experts_per_token
  bool draws_in_training = false;
  Changes changes = Changes::nothing;

  // Names of parameters, below the router.
  std::vector<std::string> frozen = {};         // not trained; all others are
  std::vector<std::string> idle = {};           // trained, but not in this phase
  std::vector<std::string> not_from_task = {};  // trained by the router's own losses alone
  // Names of losses with a stopped gradient on the way to the experts: those get none, while differences by hand
  // would show one.
  std::vector<std::string> stopped_losses = {};

  // The loss "balance", before its weight, when every expert has the same load. To get there the suite makes
  // matrices of the router the identity, its biases 0 and the experts alike up to a rotation, and rotates one
  // token.
  std::optional<double> uniform_balance = {};
};

struct Violation {
  std::string clause;   // name of the clause
  std::string message;  // what was found
};

// All violations, one per clause at most; clauses whose name contains `filter`. Never throws: what a clause
// meets as an exception is its message.
std::vector<Violation> check_router(const Promise& promise, std::string_view filter = {});

std::vector<std::string> clause_names();

// One line per violation, for a message of a test.
std::string to_string(const std::vector<Violation>& violations);

}  // namespace simsmoe::testing
