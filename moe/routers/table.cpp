// The table of routers: one line each, in the order in which help and docs show them. The first is the default.
#include <algorithm>

#include "moe/router_kind.hpp"

#define SIMSMOE_ROUTERS(router)                                                                   \
  router(smoe) router(noisy_topk) router(switch) router(gshard) router(sigmoid) router(loss_free) \
      router(random) router(hash) router(expert_choice) router(xmoe) router(stablemoe)            \
          router(stablemoe_lite) router(smoe_dropout) router(hyper) router(compete) router(remoe)

namespace simsmoe::moe {

#define SIMSMOE_DECLARE(name) RouterKind name##_router();
SIMSMOE_ROUTERS(SIMSMOE_DECLARE)
#undef SIMSMOE_DECLARE

const std::vector<RouterKind>& router_kinds() {
#define SIMSMOE_CALL(name) name##_router(),
  static const std::vector<RouterKind> kinds = {SIMSMOE_ROUTERS(SIMSMOE_CALL)};
#undef SIMSMOE_CALL
  return kinds;
}

const RouterKind* find_router_kind(std::string_view name) {
  const auto found = std::ranges::find(router_kinds(), name, &RouterKind::name);
  return found == router_kinds().end() ? nullptr : &*found;
}

std::vector<std::string> router_names() {
  std::vector<std::string> names;
  for (const RouterKind& kind : router_kinds()) names.push_back(kind.name);
  return names;
}

}  // namespace simsmoe::moe
