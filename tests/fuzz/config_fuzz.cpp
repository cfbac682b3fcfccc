// Any bytes as a configuration: refused with a UserError, or read, and then the dump reads back to the same.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "apps/config_io.hpp"
#include "engine/check.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace simsmoe::app;
  Config config;
  try {
    read_config(config, {reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const simsmoe::UserError&) {
    return 0;
  }
  const std::string dump = dump_config(config);
  Config copy;
  read_config(copy, dump, "dump");
  if (dump_config(copy) != dump) std::abort();
  return 0;
}
