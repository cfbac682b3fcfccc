// Range checks of the options, and the factory that hands MoE layers to the decoder.
#include "moe/options.hpp"

#include "moe/balance_losses.hpp"
#include "moe/moe_layer.hpp"
#include "moe/router.hpp"

namespace simsmoe::moe {

namespace {

void require(bool valid, const std::string& message) {
  if (!valid) throw UserError(message);
}

}  // namespace

void validate(const MoeOptions& o) {
  require(o.experts >= 1, fmt::format("moe.experts must be at least 1, got {}", o.experts));
  require(o.k >= 1, fmt::format("moe.k must be at least 1, got {}", o.k));
  require(o.k <= o.experts,
          fmt::format("moe.k = {} is more than moe.experts = {}: a token cannot choose more "
                      "experts than there are",
                      o.k, o.experts));
  require(o.hidden >= 1, fmt::format("moe.hidden must be at least 1, got {}", o.hidden));
  require(o.dropout >= 0.0 && o.dropout < 1.0,
          fmt::format("moe.dropout must be in [0, 1), got {}", o.dropout));
  require(o.balance_weight >= 0.0,
          fmt::format("moe.balance_weight must not be negative, got {}", o.balance_weight));
  require(o.z_weight >= 0.0, fmt::format("moe.z_weight must not be negative, got {}", o.z_weight));
  require(o.capacity_factor >= 0.0,
          fmt::format("moe.capacity_factor must not be negative, got {}", o.capacity_factor));
  selection_order_from_name(o.router_order);
  balance_form_from_name(o.balance);
}

nn::FeedForwardFactory feed_forward_factory(MoeOptions options) {
  validate(options);
  return [options = std::move(options)](const nn::Scope& scope, std::int64_t dim, int /*index*/) {
    return std::make_unique<MoeLayer>(scope, options, dim);
  };
}

}  // namespace simsmoe::moe
