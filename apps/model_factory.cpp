// See model_factory.hpp.

#include "apps/model_factory.hpp"

#include <algorithm>

#include "nn/checkpoint.hpp"

namespace simsmoe::app {

nn::DecoderOptions decoder_options(const Config& config, std::int64_t vocab) {
  const ModelConfig& m = config.model;
  nn::DecoderOptions options;
  options.vocab = vocab;
  options.dim = m.dim;
  options.heads = m.heads;
  options.layers = m.layers;
  options.pattern = m.pattern;
  options.max_length = config.train.seq;
  options.norm = m.norm == "rms_norm" ? nn::NormKind::rms_norm : nn::NormKind::layer_norm;
  options.place = m.norm_place == "post" ? nn::NormPlace::post : nn::NormPlace::pre;
  options.positions = m.positions == "rotary"    ? nn::Positions::rotary
                      : m.positions == "learned" ? nn::Positions::learned
                                                 : nn::Positions::none;
  options.attention_bias = m.attention_bias;
  options.tie_embeddings = m.tie_embeddings;
  options.head_bias = m.head_bias;
  options.dropout = m.dropout;
  options.init_std = m.init_std;
  options.dense.hidden = m.hidden;
  options.dense.activation = nn::activation_from_name(m.activation);
  options.dense.gated = m.gated;
  options.dense.bias = m.bias;
  options.dense.dropout = m.dropout;
  return options;
}

moe::MoeOptions moe_options(const Config& config, std::int64_t vocab) {
  const MoeConfig& m = config.moe;
  const std::int64_t sublayers = config.model.layers * static_cast<std::int64_t>(config.model.pattern.size());
  moe::MoeOptions options;
  options.experts = m.experts;
  options.k = m.k;
  options.hidden = m.hidden;
  options.activation = nn::activation_from_name(m.activation);
  options.bias = m.bias;
  options.dropout = m.dropout;
  options.init_std = config.model.init_std;
  options.output_std = nn::init::residual_std(config.model.init_std, sublayers);
  options.router = m.router;
  options.variant = m.variant;
  options.router_order = m.router_order;
  options.router_bias = m.router_bias;
  options.init_alike = m.init_alike;
  options.balance_weight = m.balance_weight;
  options.balance = m.balance;
  options.z_weight = m.z_weight;
  options.capacity_factor = m.capacity_factor;
  options.importance_weight = m.importance_weight;
  options.load_weight = m.load_weight;
  options.jitter = m.jitter;
  options.bias_update_rate = m.bias_update_rate;
  options.router_dim = m.router_dim;
  options.k_schedule = {m.k_schedule, m.k_min, m.k_max};
  options.similarity = config.similarity;
  options.compete = config.compete;
  options.hyper = config.hyper;
  options.stablemoe = config.stablemoe;
  options.vocab = vocab;
  options.steps = config.train.steps;
  options.layers =
      std::max<std::int64_t>(1, config.model.layers * std::ranges::count(config.model.pattern, 'g'));
  return options;
}

nn::OptimizerOptions optimizer_options(const TrainConfig& config) {
  return {.name = config.optimizer,
          .beta1 = config.beta1,
          .beta2 = config.beta2,
          .eps = config.eps,
          .weight_decay = config.weight_decay,
          .momentum = config.momentum};
}

nn::Schedule make_schedule(const TrainConfig& config) {
  nn::ScheduleOptions options;
  options.name = config.schedule;
  options.lr = config.lr;
  options.warmup = std::min(config.warmup, config.steps);
  options.steps = config.steps;
  options.min_ratio = config.min_lr_ratio;
  options.milestones = config.milestone_steps();
  options.gamma = config.gamma;
  return nn::Schedule(options);
}

DType compute_dtype(const TrainConfig& config) { return config.dtype == "bf16" ? DType::bf16 : DType::f32; }

Model::Model(const Config& config, std::int64_t vocab, Device device, std::vector<NamedTensor> loaded)
    : store(static_cast<std::uint64_t>(config.train.seed), DType::f32, device) {
  const bool from_checkpoint = !loaded.empty();
  if (from_checkpoint) store.preload(std::move(loaded));
  decoder = std::make_unique<nn::Decoder>(nn::Scope(store), decoder_options(config, vocab),
                                          moe::feed_forward_factory(moe_options(config, vocab)));
  if (from_checkpoint) nn::check_all_claimed(store);
}

}  // namespace simsmoe::app
