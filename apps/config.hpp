#pragma once
// What a person can choose about a training run: one section of the TOML file after the other. The options of nn and
// moe are theirs and describe themselves; this adds the data and the training.

#include <cstdint>
#include <string>

#include "apps/data/tokenizer.hpp"
#include "moe/options.hpp"
#include "nn/decoder.hpp"
#include "nn/fields.hpp"
#include "nn/optimizer.hpp"
#include "nn/schedule.hpp"

namespace simsmoe::app {

struct DataConfig {
  std::string name = "gcide";
  std::string path;
  std::string folder = "data";
  TokenKind vocab = TokenKind::byte;
  double valid_fraction = 0.05;
  double test_fraction = 0.05;

  // Name and path say together which text is meant. Where one of them alone is given (in a file, on the command line), it
  // takes back what was said of the other before.
  void settle(bool name_given, bool path_given);
  const std::string& text() const { return path.empty() ? name : path; }  // for people

  void fields(nn::FieldList& add);
  void check() const;  // throws UserError
};

// What linear maps and experts compute in; parameters are f32.
enum class Precision : unsigned char { f32, bf16 };
constexpr auto enum_names(Precision) { return std::to_array<std::string_view>({"f32", "bf16"}); }

// Whether activations are kept for the backward pass, or those within a sublayer computed again (nn/recompute.hpp).
enum class Recompute : unsigned char { none, sublayers };
constexpr auto enum_names(Recompute) { return std::to_array<std::string_view>({"none", "sublayers"}); }

struct TrainConfig : nn::ScheduleOptions, nn::OptimizerOptions {
  std::int64_t batch = 16;
  std::int64_t seq = 128;
  std::int64_t accumulate = 1;
  double clip = 1.0;
  Precision dtype = Precision::f32;
  Recompute recompute = Recompute::none;
  std::int64_t seed = 1;
  std::int64_t log_every = 10;
  std::int64_t eval_every = 250;
  std::int64_t eval_batches = 16;
  double final_share = 0.1;
  bool compare_experts = true;
  std::int64_t patience = 0;
  std::int64_t save_every = 250;
  std::int64_t keep = 0;
  std::int64_t sample_every = 250;
  std::int64_t sample_tokens = 200;
  double sample_temperature = 0.8;
  std::string sample_prompt = "The ";
  std::string init;

  DType compute_dtype() const { return dtype == Precision::bf16 ? DType::bf16 : DType::f32; }

  void fields(nn::FieldList& add);
};

struct Config {
  DataConfig data;
  nn::DecoderOptions model;
  moe::MoeOptions moe;
  TrainConfig train;

  bool has_experts() const { return model.pattern.find('g') != std::string::npos; }
  // Every field of every section. The list points into this object.
  nn::FieldList fields();
  // What a single range cannot say (heads divide dim, k <= experts, ...). Throws UserError naming the keys.
  void validate() const;
};

}  // namespace simsmoe::app
