// A pass under observation: values in the order of the tape, then gradients on the way back.

#include "apps/non_finite.hpp"

#include <algorithm>

namespace simsmoe::app {

namespace {

// Only leaves have names: the parameter that an op reads, or the last one that was read before it.
std::string nearest_parameter(const std::vector<Node>& nodes, std::size_t index) {
  for (std::size_t i = index + 1; i-- > 0;)
    for (const Variable& input : nodes[i].inputs)
      if (input.defined() && !input.name().empty())
        return fmt::format("{} parameter {}", i == index ? "which reads" : "after", input.name());
  return "before any parameter";
}

std::string in_forward(const Tape& tape) {
  const std::vector<Node>& nodes = tape.nodes();
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (const Variable& output : nodes[i].outputs)
      if (!all_finite(output.value()))
        return fmt::format("the output {} of op {} '{}', {}", describe(output.value()), i, nodes[i].op,
                           nearest_parameter(nodes, i));
  return {};
}

std::string in_gradients_of(const Node& node) {
  for (const Variable& input : node.inputs) {
    if (!input.defined() || !input.grad().defined() || all_finite(input.grad())) continue;
    const std::string whose =
        input.name().empty() ? "an intermediate result" : fmt::format("parameter {}", input.name());
    return fmt::format("the gradient {} of {} in the backward pass of op '{}'", describe(input.grad()), whose,
                       node.op);
  }
  return {};
}

}  // namespace

std::string first_non_finite(const nn::ParameterStore& store) {
  for (const nn::Parameter& parameter : store.parameters())
    if (!all_finite(parameter.variable.value()))
      return fmt::format("parameter {}", parameter.variable.name());
  return {};
}

std::string first_non_finite(const nn::ParameterStore& store, const std::function<Variable()>& loss) {
  std::string found = first_non_finite(store);
  if (!found.empty()) return found;
  store.clear_grads();
  Tape tape;
  const Variable value = loss();
  found = in_forward(tape);
  if (!found.empty()) return found;
  tape.set_observer([&found](const Node& node) {
    if (found.empty()) found = in_gradients_of(node);
  });
  tape.backward(value);
  store.clear_grads();
  return found;
}

}  // namespace simsmoe::app
