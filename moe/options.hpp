#pragma once
// What configures a mixture-of-experts feed-forward: the layer, its router, similarity learning. The equations
// behind each value are in the file of the router that reads it (moe/routers).

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nn/feed_forward.hpp"

namespace simsmoe::moe {

class Router;
struct MoeOptions;

// Makes the router of a layer of width `dim`; see moe/router.hpp.
using RouterMaker = std::function<std::unique_ptr<Router>(const nn::Scope& scope, const MoeOptions& options,
                                                          std::int64_t dim)>;

// How many experts a token uses while k changes in the course of a training (moe/k_schedule.hpp).
struct KScheduleOptions {
  // none, linear, cosine, exponential, multi_step, and each with _decrease; auto: linear for the routers whose
  // recipe has one (smoe_dropout, hyper), else none
  std::string name = "auto";
  std::int64_t k_min = 0;  // 0: E / 2, at least 1
  std::int64_t k_max = 0;  // 0: E
};

// moe/routers/stablemoe.cpp
struct StableMoeOptions {
  double stage1 = 0.1;              // part of the training before the distilled router takes over
  std::int64_t distilled_dim = 50;  // width of the word embedding that routes
  double balance_weight = 0.3;
  double distill_weight = 0.3;
};

// moe/routers/hyper.cpp
struct HyperOptions {
  std::int64_t size = 256;  // S, inner width of the hypernetwork
  bool trainable = false;   // an ablation; the paper freezes it
};

// moe/routers/compete.cpp and moe/routers/compete_schedule.cpp
struct CompeteOptions {
  std::int64_t version = 2;  // of the paper: 2 (2025) or 1 (2024)
  std::string response =
      "auto";  // softplus, norm, relu, silu, sigmoid; auto: softplus in version 2, norm in 1
  std::string schedule = "auto";     // bernoulli (rate), lambda; auto: bernoulli in version 2, lambda in 1
  double rate = 0.05;                // probability that a layer competes in a step
  double warmup = 0.05;              // part of the training before the first competition (version 2)
  std::int64_t max_layers = 3;       // that compete in one step (version 2)
  std::int64_t iteration = 1000;     // steps for which a draw of lambda holds (version 1)
  double router_weight = 0.01;       // of the loss that teaches the router the outcome
  double diversity_weight = 0.01;    // of the loss on the likeness of the winners' outputs (version 2)
  double hybrid = 0.0;               // weight of the further router loss on the winners alone (version 2)
  std::string distillation = "mse";  // or kl (version 1)
  bool combine_router = false;       // the response is averaged with the router's logits (version 1)
  bool balance_responses = false;    // a balance loss on the responses in competition steps (version 1)
};

// moe/similarity_learning.hpp
struct SimilarityOptions {
  bool enabled = false;
  double beta = 0.01;        // weight of the loss
  double frequency = 16.0;   // f*: a pair is checked when its shared tokens add up to this many batches
  double threshold = 0.5;    // T*: only pairs more alike than this are pushed apart
  std::string loss = "cka";  // cka, cosine, abs_cosine, infonce, dcl, nt_xent (moe/similarity_losses.hpp)
  // Of cka. auto: rbf_median, and rbf in the variant reference.
  std::string kernel = "auto";  // rbf_median, rbf (with sigma), linear
  double sigma = 0.8;
  // Of cka: debiased, or biased: inflated for few tokens. auto: debiased, and biased in the variant reference.
  std::string estimator = "auto";
  bool normalize = false;       // rows of the projected outputs to length 1
  bool reuse_outputs = false;   // decide on the outputs that the layer computed anyway
  std::int64_t min_tokens = 0;  // 0: 4, and 2 in the variant reference
  std::int64_t max_tokens = 0;  // 0: 256, and no limit in the variant reference

  bool debiased() const { return estimator == "debiased"; }
};

struct MoeOptions {
  std::int64_t experts = 8;   // E
  std::int64_t k = 2;         // experts per token, 1 <= k <= E
  std::int64_t hidden = 256;  // F, inner size of one expert
  nn::Activation activation = nn::Activation::gelu;
  bool bias = false;        // of the experts' two linear maps
  double dropout = 0.0;     // after the activation inside an expert
  double init_std = 0.0;    // of the maps up and of the router; 0: U(+-1/sqrt(inputs)); see nn::LinearOptions
  double output_std = 0.0;  // the same for the maps down
  double init_alike = 0.0;  // share of the experts' initial weights that all have in common, 0 to 1

  std::string router = "smoe";
  // A router of the user's own in place of the one that `router` names.
  RouterMaker custom_router = {};
  // paper: as the paper's equations have it, but for what has a key of its own (router_order, similarity.kernel...);
  // reference: what the published code computes when it is run.
  std::string variant = "paper";
  // topk_softmax: softmax over the k kept logits (weights sum to 1); softmax_topk: the k largest of the
  // softmax over all E (weights sum to < 1). k = 1 always uses softmax_topk: a weight of 1 has no gradient.
  std::string router_order = "topk_softmax";
  bool router_bias = false;
  double balance_weight = 0.01;  // alpha; 0 turns the loss off
  // auto, switch, first_choice, sequence, sequence_first_choice, reference: moe/balance_losses.hpp
  std::string balance = "auto";
  double z_weight = 0.0;  // of the router z-loss; 0 turns it off
  // 0: no token is dropped; else an expert takes at most C = ceil(factor * k * N / E) copies.
  double capacity_factor = 0.0;

  double importance_weight = 0.1;   // noisy_topk
  double load_weight = 0.1;         // noisy_topk
  double jitter = 0.1;              // switch
  double bias_update_rate = 0.001;  // loss_free
  std::int64_t router_dim = 0;      // xmoe: width of its space; 0: E / 2, at least 2, and 8 in the reference
  KScheduleOptions k_schedule = {};
  StableMoeOptions stablemoe = {};
  HyperOptions hyper = {};
  CompeteOptions compete = {};
  SimilarityOptions similarity = {};

  // What a layer must know of the model around it.
  std::int64_t vocab = 0;   // V, for routers that read token ids; 0: unknown
  std::int64_t steps = 0;   // of the whole training, for schedules; 0: unknown
  std::int64_t layer = 0;   // number of this layer among the MoE layers
  std::int64_t layers = 1;  // MoE layers in the model

  bool reference() const { return variant == "reference"; }
};

// The options of similarity learning with every auto and 0 replaced by what it stands for.
SimilarityOptions resolved_similarity(const MoeOptions& options);

// Throws UserError naming the key ("moe.k ...") when a value is out of range or a name is unknown.
void validate(const MoeOptions& options);

// The auxiliary losses that a training with these options will not have, each with its reason, for a log line:
// "z (moe.z_weight = 0)", "balance (router hash has none)".
std::vector<std::string> absent_losses(const MoeOptions& options);

// The options that differ from their defaults and change nothing here, each with its reason, for a log line:
// "moe.jitter (router switch only)".
std::vector<std::string> idle_options(const MoeOptions& options);

// Makes the MoE layer of every 'g' sublayer; sets `layer`.
nn::FeedForwardFactory feed_forward_factory(MoeOptions options);

}  // namespace simsmoe::moe
