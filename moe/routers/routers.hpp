#pragma once
// The makers of all routers, one per file of this folder; the table of names is in moe/router.cpp. Each throws
// UserError naming the key when an option does not suit the router.

#include "moe/router.hpp"

namespace simsmoe::moe {

using MakeRouter = std::unique_ptr<Router>(const nn::Scope& scope, const MoeOptions& options,
                                           std::int64_t dim);

MakeRouter make_smoe_router, make_noisy_topk_router, make_switch_router, make_gshard_router;
MakeRouter make_sigmoid_router, make_loss_free_router, make_random_router, make_hash_router;
MakeRouter make_expert_choice_router, make_xmoe_router, make_stablemoe_router, make_stablemoe_lite_router;
MakeRouter make_smoe_dropout_router, make_hyper_router, make_compete_router;

}  // namespace simsmoe::moe
