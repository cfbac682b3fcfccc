#pragma once
// A router that sends a token to the experts whose centres are nearest.

#include "moe/router.hpp"

namespace own {

// For MoeOptions::custom_router.
simsmoe::moe::RouterKind distance_router();

}  // namespace own
