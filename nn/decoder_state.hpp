#pragma once
// What a decoder keeps of the positions that it has seen: keys and values in generation, memory of earlier segments. It
// belongs to the caller, who hands it to a pass and gets the next one back; the decoder keeps nothing of its own.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/safetensors.hpp"

namespace simsmoe::nn {

// Copies share memory. A state stays valid when a pass has made the next one of it, but two continuations of one state
// write to the same memory: give one of them a clone().
struct DecoderState {
  std::int64_t position = 0;  // positions seen so far
  std::vector<Tensor> kept;   // one per attention sublayer, in the order of the stack

  DecoderState clone() const;

  // As named tensors for a file ("position", "kept.0", ...), and back. Throws UserError naming what is missing or
  // unreadable.
  std::vector<NamedTensor> tensors() const;
  static DecoderState from(const std::vector<NamedTensor>& tensors);
};

}  // namespace simsmoe::nn
