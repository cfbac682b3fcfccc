#include "tests/moe/router_contract/contract.hpp"

#include "tests/moe/router_contract/clauses.hpp"
#include "tests/support/op_checks.hpp"

namespace simsmoe::testing {

namespace {

struct Entry {
  std::string_view name;
  Clause* check;
};

constexpr Entry kClauses[] = {
    {"weights are as promised", weights_are_as_promised},
    {"plan is valid", plan_is_valid},
    {"choices follow the logits", choices_follow_logits},
    {"ties go to the lowest", ties_go_to_lowest},
    {"permutation permutes", permutation_permutes},
    {"tokens are independent", tokens_are_independent},
    {"every k is served", every_k_is_served},
    {"gradient arrives", gradient_arrives},
    {"task teaches", task_teaches},
    {"numeric gradient agrees", numeric_gradient_agrees},
    {"stopped losses spare experts", stopped_losses_spare_experts},
    {"uniform balance is as promised", uniform_balance_is_as_promised},
    {"scores stay exact", scores_stay_exact},
    {"account is complete", account_is_complete},
    {"a pass is a function", pass_is_a_function},
    {"only the owner applies", only_the_owner_applies},
    {"evaluation draws nothing", evaluation_draws_nothing},
    {"evaluation changes nothing", evaluation_changes_nothing},
    {"training draws as promised", training_draws_as_promised},
    {"training changes as promised", training_changes_as_promised},
    {"resuming gives the same bits", resuming_gives_same_bits},
    {"few tokens are fine", few_tokens_are_fine},
    {"idle experts are fine", idle_experts_are_fine},
    {"full experts are fine", full_experts_are_fine},
    {"huge scores are finite", huge_scores_are_finite},
    {"equal scores are finite", equal_scores_are_finite},
};

}  // namespace

moe::MoeOptions contract_options() {
  moe::MoeOptions options;
  options.experts = 4;
  options.hidden = 6;
  options.bias = true;
  options.router_bias = true;
  options.balance_weight = 0.3;  // large: a mistake in a loss must not hide behind the task
  options.z_weight = 0.2;
  return options;
}

std::vector<Violation> check_router(const Promise& promise, std::string_view filter) {
  const ThreadCount one_thread(1);  // thousands of passes over a few numbers
  std::vector<Violation> violations;
  for (const Entry& clause : kClauses) {
    if (clause.name.find(filter) == std::string_view::npos) continue;
    try {
      clause.check(promise);
    } catch (const std::exception& error) {
      violations.push_back({std::string(clause.name), error.what()});
    }
  }
  return violations;
}

std::vector<std::string> clause_names() {
  std::vector<std::string> names;
  for (const Entry& clause : kClauses) names.emplace_back(clause.name);
  return names;
}

std::string to_string(const std::vector<Violation>& violations) {
  std::string text;
  for (const Violation& v : violations) text += fmt::format("{}: {}\n", v.clause, v.message);
  return text;
}

}  // namespace simsmoe::testing
