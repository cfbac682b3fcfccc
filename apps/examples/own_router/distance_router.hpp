#pragma once
// A router that sends a token to the experts whose centres are nearest.

#include "moe/router.hpp"

namespace own {

// For MoeOptions::custom_router.
std::unique_ptr<simsmoe::moe::Router> make_distance_router(const simsmoe::nn::Scope& scope,
                                                           const simsmoe::moe::MoeOptions& options,
                                                           std::int64_t dim);

}  // namespace own
