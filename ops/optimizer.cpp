#include "ops/optimizer.hpp"

#include "engine/profile.hpp"
#include "ops/check.hpp"

namespace simsmoe::ops {

namespace {

void check_state(std::string_view op, const Tensor& parameter, const Tensor& other, const char* what) {
  check_alike(op, parameter, other);
  SMX_CHECK(parameter.shape() == other.shape(), "[{}] {} is {}, the parameter {}", op, what, describe(other),
            describe(parameter));
}

}  // namespace

void adam_step(const Tensor& parameter, const Tensor& gradient, const Tensor& m, const Tensor& v,
               const AdamStep& step) {
  const profile::Scope scope("adam_step", profile::Phase::other);
  check_float("adam_step", parameter);
  check_state("adam_step", parameter, gradient, "the gradient");
  check_state("adam_step", parameter, m, "the first moment");
  check_state("adam_step", parameter, v, "the second moment");
  SMX_CHECK(step.step >= 1, "[adam_step] steps count from 1, got {}", step.step);
  SMX_DISPATCH(adam_update, parameter.device(), parameter, gradient, m, v, step);
}

void sgd_step(const Tensor& parameter, const Tensor& gradient, const Tensor& momentum_buffer,
              const SgdStep& step) {
  const profile::Scope scope("sgd_step", profile::Phase::other);
  check_float("sgd_step", parameter);
  check_state("sgd_step", parameter, gradient, "the gradient");
  SMX_CHECK(step.momentum == 0.0 || momentum_buffer.defined(), "[sgd_step] momentum {} needs a buffer",
            step.momentum);
  if (momentum_buffer.defined()) check_state("sgd_step", parameter, momentum_buffer, "the momentum");
  SMX_DISPATCH(sgd_update, parameter.device(), parameter, gradient, momentum_buffer, step);
}

double squared_norm(const Tensor& x) {
  const profile::Scope scope("squared_norm", profile::Phase::other);
  check_float("squared_norm", x);
  double sum = 0.0;
  SMX_DISPATCH(sum_of_squares, x.device(), x, sum);
  return sum;
}

}  // namespace simsmoe::ops
