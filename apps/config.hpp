#pragma once
// What a person can choose about a training run: plain structs with defaults, one per section of the TOML
// file. Every member is named once more in fields() (config.cpp) with its meaning and its range; add a member
// and its line there, and every command knows the key. model_factory.cpp translates these structs into the
// options of nn and moe, which never see TOML.

#include <cstdint>
#include <string>
#include <vector>

#include "apps/config_field.hpp"
#include "moe/options.hpp"

namespace simsmoe::app {

struct DataConfig {
  std::string name = "gcide";
  std::string path;
  std::string folder = "data";
  std::string vocab = "byte";
  double valid_fraction = 0.05;
  double test_fraction = 0.05;

  void fields(FieldList& add);
};

struct ModelConfig {
  std::int64_t dim = 128;
  std::int64_t layers = 4;
  std::int64_t heads = 4;
  std::string pattern = "sg";
  std::string norm = "layer_norm";
  std::string norm_place = "pre";
  std::string positions = "learned";
  double dropout = 0.0;
  double init_std = 0.0;
  bool tie_embeddings = false;
  bool attention_bias = false;
  bool head_bias = false;
  std::int64_t hidden = 512;
  std::string activation = "gelu";
  bool gated = false;
  bool bias = false;

  void fields(FieldList& add);
};

struct MoeConfig {
  std::int64_t experts = 8;
  std::int64_t k = 2;
  std::int64_t hidden = 256;
  std::string router = "smoe";
  std::string variant = "paper";
  std::string router_order = "topk_softmax";
  bool router_bias = false;
  std::string activation = "gelu";
  bool bias = false;
  double dropout = 0.0;
  double init_alike = 0.0;
  std::string balance = "auto";
  double balance_weight = 0.01;
  double z_weight = 0.0;
  double capacity_factor = 0.0;
  double importance_weight = 0.1;
  double load_weight = 0.1;
  double jitter = 0.1;
  double bias_update_rate = 0.001;
  std::int64_t router_dim = 0;
  std::string k_schedule = "auto";
  std::int64_t k_min = 0;
  std::int64_t k_max = 0;

  void fields(FieldList& add);
};

// The sections of single routers and of similarity learning are the option structs of moe/options.hpp.
struct StableMoeConfig : moe::StableMoeOptions {
  void fields(FieldList& add);
};

struct HyperConfig : moe::HyperOptions {
  void fields(FieldList& add);
};

struct CompeteConfig : moe::CompeteOptions {
  void fields(FieldList& add);
};

struct SimilarityConfig : moe::SimilarityOptions {
  void fields(FieldList& add);
};

struct TrainConfig {
  std::int64_t steps = 1000;
  std::int64_t batch = 16;
  std::int64_t seq = 128;
  std::int64_t accumulate = 1;
  std::string optimizer = "adamw";
  double lr = 3e-3;
  std::string schedule = "cosine";
  std::string milestones;
  double gamma = 0.1;
  std::int64_t warmup = 50;
  double min_lr_ratio = 0.1;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double eps = 1e-8;
  double momentum = 0.9;
  double weight_decay = 0.01;
  double clip = 1.0;
  std::string dtype = "f32";
  std::int64_t seed = 1;
  std::int64_t log_every = 10;
  std::int64_t eval_every = 250;
  std::int64_t eval_batches = 16;
  bool compare_experts = true;
  std::int64_t save_every = 250;
  std::int64_t sample_every = 250;
  std::int64_t sample_tokens = 200;
  double sample_temperature = 0.8;
  std::string sample_prompt = "The ";

  void fields(FieldList& add);
  // The steps of train.milestones. Throws UserError when they are no ascending list of steps.
  std::vector<std::int64_t> milestone_steps() const;
};

struct Config {
  DataConfig data;
  ModelConfig model;
  MoeConfig moe;
  SimilarityConfig similarity;
  CompeteConfig compete;
  HyperConfig hyper;
  StableMoeConfig stablemoe;
  TrainConfig train;

  // Every field of every section. The list points into this object.
  FieldList fields();
  // What a single range cannot say (heads divide dim, k <= experts, ...). Throws UserError naming the keys.
  void validate() const;
};

}  // namespace simsmoe::app
