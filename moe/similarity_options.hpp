#pragma once
// What configures similarity learning (moe/similarity_learning.hpp): the section [similarity].

#include <cstdint>

#include "nn/fields.hpp"

namespace simsmoe::moe {

// Of routers, balance losses and similarity learning: the paper's equations, or what the published code computes.
enum class Variant : unsigned char { paper, reference };
constexpr auto enum_names(Variant) { return std::to_array<std::string_view>({"paper", "reference"}); }

// How alike two experts' outputs are: moe/similarity_losses.hpp.
enum class LikenessMeasure : unsigned char { cka, cosine, abs_cosine, infonce, dcl, nt_xent };
constexpr auto enum_names(LikenessMeasure) {
  return std::to_array<std::string_view>({"cka", "cosine", "abs_cosine", "infonce", "dcl", "nt_xent"});
}

// Of CKA: moe/cka.hpp.
enum class KernelChoice : unsigned char { automatic, rbf_median, rbf, linear };
constexpr auto enum_names(KernelChoice) {
  return std::to_array<std::string_view>({"auto", "rbf_median", "rbf", "linear"});
}
enum class Estimator : unsigned char { automatic, debiased, biased };
constexpr auto enum_names(Estimator) {
  return std::to_array<std::string_view>({"auto", "debiased", "biased"});
}

struct SimilarityOptions {
  bool enabled = false;
  double beta = 0.01;       // weight of the loss
  double frequency = 16.0;  // f*: a pair is checked when its shared tokens add up to this many batches
  double threshold = 0.5;   // T*: only pairs more alike than this are pushed apart
  LikenessMeasure loss = LikenessMeasure::cka;
  KernelChoice kernel = KernelChoice::automatic;  // of cka: rbf_median, and rbf in the variant reference
  double sigma = 0.8;                             // of rbf
  Estimator estimator = Estimator::automatic;     // of cka: debiased, and biased in the variant reference
  bool normalize = false;                         // rows of the projected outputs to length 1
  bool reuse_outputs = false;                     // decide on the outputs that the layer computed anyway
  std::int64_t min_tokens = 0;                    // 0: 4, and 2 in the variant reference
  std::int64_t max_tokens = 0;                    // 0: 256, and no limit in the variant reference

  // With every auto and 0 replaced by what it stands for.
  SimilarityOptions resolved(Variant variant) const;
  bool debiased() const { return estimator == Estimator::debiased; }

  void fields(nn::FieldList& add, Variant variant);
  void check(Variant variant, std::int64_t experts) const;  // throws UserError
};

}  // namespace simsmoe::moe
