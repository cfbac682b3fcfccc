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

void check_device(std::string_view op, const Tensor& first, const Tensor& parameter) {
  SMX_CHECK(first.device() == parameter.device(), "[{}] expected one device, got {} and {}", op,
            describe(first), describe(parameter));
}

void check_scale(std::string_view op, const Tensor& parameter, const Tensor& scale) {
  SMX_CHECK(!scale.defined() ||
                (scale.dtype() == DType::f64 && scale.numel() == 1 && scale.device() == parameter.device()),
            "[{}] expected a scale f64 [] on {}, got {}", op, parameter.device().to_string(),
            describe(scale));
}

}  // namespace

void adam_step(const std::vector<AdamSlot>& slots, const AdamStep& step, const Tensor& gradient_scale) {
  const profile::Scope scope("adam_step", profile::Phase::other);
  if (slots.empty()) return;
  check_scale("adam_step", slots.front().parameter, gradient_scale);
  for (const AdamSlot& slot : slots) {
    check_float("adam_step", slot.parameter);
    check_device("adam_step", slots.front().parameter, slot.parameter);
    check_state("adam_step", slot.parameter, slot.gradient, "the gradient");
    check_state("adam_step", slot.parameter, slot.m, "the first moment");
    check_state("adam_step", slot.parameter, slot.v, "the second moment");
    SMX_CHECK(slot.step >= 1, "[adam_step] steps count from 1, got {}", slot.step);
  }
  for (const AdamSlot& slot : slots) {
    slot.parameter.note_change();
    slot.m.note_change();
    slot.v.note_change();
  }
  SMX_DISPATCH(adam_update, slots.front().parameter.device(), slots, step, gradient_scale);
}

void sgd_step(const std::vector<SgdSlot>& slots, const SgdStep& step, const Tensor& gradient_scale) {
  const profile::Scope scope("sgd_step", profile::Phase::other);
  if (slots.empty()) return;
  check_scale("sgd_step", slots.front().parameter, gradient_scale);
  for (const SgdSlot& slot : slots) {
    check_float("sgd_step", slot.parameter);
    check_device("sgd_step", slots.front().parameter, slot.parameter);
    check_state("sgd_step", slot.parameter, slot.gradient, "the gradient");
    SMX_CHECK(step.momentum == 0.0 || slot.momentum.defined(), "[sgd_step] momentum {} needs a buffer",
              step.momentum);
    if (slot.momentum.defined()) check_state("sgd_step", slot.parameter, slot.momentum, "the momentum");
  }
  for (const SgdSlot& slot : slots) {
    slot.parameter.note_change();
    if (slot.momentum.defined()) slot.momentum.note_change();
  }
  SMX_DISPATCH(sgd_update, slots.front().parameter.device(), slots, step, gradient_scale);
}

Tensor global_norm(const std::vector<Tensor>& xs) {
  const profile::Scope scope("global_norm", profile::Phase::other);
  for (const Tensor& x : xs) {
    check_float("global_norm", x);
    SMX_CHECK(x.device() == xs.front().device(), "[global_norm] expected one device, got {} and {}",
              describe(xs.front()), describe(x));
  }
  Tensor norm = Tensor::empty({}, DType::f64, xs.empty() ? kCpu : xs.front().device());
  SMX_DISPATCH(global_norm, norm.device(), xs, norm);
  return norm;
}

}  // namespace simsmoe::ops
