#pragma once
// What configures a mixture-of-experts feed-forward.

#include <cstdint>
#include <string>

#include "nn/feed_forward.hpp"

namespace simsmoe::moe {

struct MoeOptions {
  std::int64_t experts = 8;   // E
  std::int64_t k = 2;         // experts per token, 1 <= k <= E
  std::int64_t hidden = 256;  // F, inner size of one expert
  nn::Activation activation = nn::Activation::gelu;
  bool bias = false;        // of the experts' two linear maps
  double dropout = 0.0;     // after the activation inside an expert
  double init_std = 0.0;    // of the maps up and of the router; 0: U(+-1/sqrt(inputs)); see nn::LinearOptions
  double output_std = 0.0;  // the same for the maps down
  std::string router = "smoe";
  // topk_softmax: softmax over the k kept logits (weights sum to 1); softmax_topk: the k largest of the
  // softmax over all E (weights sum to < 1). k = 1 always uses softmax_topk: a weight of 1 has no gradient.
  std::string router_order = "topk_softmax";
  bool router_bias = false;
  double balance_weight = 0.01;    // alpha; 0 turns the loss off
  std::string balance = "switch";  // switch (uniform value 1) or reference (uniform value 1/k)
  double z_weight = 0.0;           // of the router z-loss; 0 turns it off
  // 0: no token is dropped; else an expert takes at most C = ceil(factor * k * N / E) copies.
  double capacity_factor = 0.0;
};

// Throws UserError naming the key ("moe.k ...") when a value is out of range or a name is unknown. The name
// of the router is checked where it is made (make_router).
void validate(const MoeOptions& options);

// Makes the MoE layer of every 'g' sublayer.
nn::FeedForwardFactory feed_forward_factory(MoeOptions options);

}  // namespace simsmoe::moe
