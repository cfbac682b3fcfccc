#pragma once
// manifest.json: what a run is, for people and scripts. Nothing reads it back.

#include <nlohmann/json.hpp>

#include "apps/trainer.hpp"

namespace simsmoe::app {

inline constexpr const char* kVersion = SIMSMOE_VERSION;

nlohmann::ordered_json manifest_of(const Trainer& trainer);

}  // namespace simsmoe::app
