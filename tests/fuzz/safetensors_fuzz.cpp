// Any bytes are either a safetensors file or a UserError: no crash, no other exception, no wild read.

#include "engine/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    simsmoe::parse_safetensors({reinterpret_cast<const char*>(data), size}, "input");
  } catch (const simsmoe::UserError&) {
  }
  return 0;
}
