// The state as values: copied, and as tensors of a file.

#include "nn/decoder_state.hpp"

#include <algorithm>

namespace simsmoe::nn {

namespace {

constexpr const char* kPosition = "position";

std::string kept_name(std::size_t i) { return fmt::format("kept.{}", i); }

const Tensor& tensor_at(const std::vector<NamedTensor>& tensors, const std::string& name) {
  const auto found = std::ranges::find(tensors, name, &NamedTensor::name);
  if (found == tensors.end()) throw UserError(fmt::format("the state of a decoder lacks '{}'", name));
  return found->tensor;
}

}  // namespace

DecoderState DecoderState::clone() const {
  DecoderState copy{position, {}};
  for (const Tensor& tensor : kept) copy.kept.push_back(tensor.clone());
  return copy;
}

std::vector<NamedTensor> DecoderState::tensors() const {
  std::vector<NamedTensor> all{{kPosition, Tensor::from(std::vector<std::int64_t>{position}, {1})}};
  for (std::size_t i = 0; i < kept.size(); ++i) all.push_back({kept_name(i), kept[i]});
  return all;
}

DecoderState DecoderState::from(const std::vector<NamedTensor>& tensors) {
  DecoderState state;
  const Tensor& position = tensor_at(tensors, kPosition);
  if (position.dtype() != DType::i64 || position.numel() != 1 || position.data<std::int64_t>()[0] < 0)
    throw UserError(fmt::format("the state of a decoder has an unreadable '{}'", kPosition));
  state.position = position.data<std::int64_t>()[0];
  for (std::size_t i = 0; i + 1 < tensors.size(); ++i) state.kept.push_back(tensor_at(tensors, kept_name(i)));
  return state;
}

}  // namespace simsmoe::nn
