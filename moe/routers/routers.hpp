#pragma once
// The makers of all routers, one per file of this folder; the table of names is in moe/router.cpp.

#include "moe/router.hpp"

namespace simsmoe::moe {

std::unique_ptr<Router> make_smoe_router(const nn::Scope& scope, const MoeOptions& options, std::int64_t dim);

}  // namespace simsmoe::moe
