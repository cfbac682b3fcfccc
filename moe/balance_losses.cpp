// The two losses as compositions of ops; formulas and sources are in the header.
#include "moe/balance_losses.hpp"

#include "ops/binary.hpp"
#include "ops/reduce.hpp"
#include "ops/softmax.hpp"
#include "ops/unary.hpp"

namespace simsmoe::moe {

BalanceForm balance_form_from_name(const std::string& name) {
  if (name == "switch") return BalanceForm::switch_form;
  if (name == "reference") return BalanceForm::reference;
  throw UserError(fmt::format("moe.balance must be switch or reference, got '{}'", name));
}

Variable load_balance_loss(const Variable& probabilities, const Tensor& counts, std::int64_t k,
                           BalanceForm form) {
  const std::int64_t tokens = probabilities.size(0), experts = probabilities.size(1);
  SMX_CHECK(counts.shape() == Shape{experts}, "[load_balance_loss] expected counts of shape [{}], got {}",
            experts, describe(counts));
  const double uniform_value = form == BalanceForm::switch_form ? 1.0 : 1.0 / static_cast<double>(k);
  std::vector<double> share = counts.to_vector<double>();  // E * f_e * uniform_value
  for (double& f : share) f *= static_cast<double>(experts) * uniform_value / static_cast<double>(tokens * k);
  const Tensor slope = Tensor::from(share, {experts}).to(probabilities.dtype()).to(probabilities.device());
  return ops::sum(ops::mul(ops::mean(probabilities, 0), Variable(slope)));
}

Variable z_loss(const Variable& logits) { return ops::mean(ops::square(ops::logsumexp(logits))); }

}  // namespace simsmoe::moe
