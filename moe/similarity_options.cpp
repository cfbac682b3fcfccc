// The description of [similarity] and what its values ask of each other.
#include "moe/similarity_options.hpp"

#include <limits>

#include "moe/similarity_losses.hpp"

namespace simsmoe::moe {

namespace {

void require(bool valid, const std::string& message) {
  if (!valid) throw UserError(message);
}

}  // namespace

SimilarityOptions SimilarityOptions::resolved(Variant variant) const {
  const bool reference = variant == Variant::reference;
  SimilarityOptions s = *this;
  if (kernel == KernelChoice::automatic) s.kernel = reference ? KernelChoice::rbf : KernelChoice::rbf_median;
  if (estimator == Estimator::automatic) s.estimator = reference ? Estimator::biased : Estimator::debiased;
  if (min_tokens == 0) s.min_tokens = reference && !s.debiased() ? 2 : 4;
  if (max_tokens == 0) s.max_tokens = reference ? std::numeric_limits<std::int64_t>::max() : 256;
  return s;
}

void SimilarityOptions::fields(nn::FieldList& add, Variant variant) {
  constexpr std::string_view kOff = "similarity.enabled = false";
  const bool cka = enabled && loss == LikenessMeasure::cka;
  const bool rbf = cka && resolved(variant).kernel == KernelChoice::rbf;
  const std::string_view no_cka = enabled ? "similarity.loss cka only" : kOff;
  add("enabled", &enabled, "push experts apart that say the same about the same tokens (SimSMoE)")
      .turns_off("similarity");
  add("beta", &beta, "weight of the similarity loss", nn::at_least(0))
      .turns_off("similarity")
      .read_if(enabled, kOff);
  add("frequency", &frequency, "f*: a pair is compared when its shared tokens add up to so many batches",
      nn::at_least(0))
      .read_if(enabled, kOff);
  add("threshold", &threshold, "T*: only pairs that are more alike than this are pushed apart")
      .read_if(enabled, kOff);
  add("loss", &loss, "measure of likeness").read_if(enabled, kOff);
  add("kernel", &kernel,
      "of cka; auto: rbf_median, and rbf with similarity.sigma for moe.variant = reference")
      .read_if(cka, no_cka);
  add("sigma", &sigma, "bandwidth of the kernel rbf", nn::above(0))
      .read_if(rbf, enabled ? "similarity.kernel rbf only" : kOff);
  add("estimator", &estimator,
      "of cka; debiased: not inflated by few tokens; auto: debiased, and biased for moe.variant = reference")
      .read_if(cka, no_cka);
  add("normalize", &normalize, "scale the compared rows to length 1").read_if(cka, no_cka);
  add("reuse_outputs", &reuse_outputs, "decide whether a pair is alike on outputs that were computed anyway")
      .read_if(enabled, kOff);
  add("min_tokens", &min_tokens,
      "compare on at least so many shared tokens; 0: 4, and 2 for moe.variant = reference", nn::at_least(0))
      .read_if(enabled, kOff);
  add("max_tokens", &max_tokens,
      "compare on at most so many shared tokens; 0: 256, and no limit for moe.variant = reference",
      nn::at_least(0))
      .read_if(enabled, kOff);
}

void SimilarityOptions::check(Variant variant, std::int64_t experts) const {
  const SimilarityOptions s = resolved(variant);
  require(s.min_tokens >= 2, fmt::format("similarity.min_tokens must be at least 2, got {}", s.min_tokens));
  require(s.max_tokens >= s.min_tokens,
          fmt::format("similarity.max_tokens must be at least similarity.min_tokens = {}, got {}",
                      s.min_tokens, s.max_tokens));
  require(!s.debiased() || s.loss != LikenessMeasure::cka || s.min_tokens >= 4,
          fmt::format(
              "similarity.min_tokens = {}: debiased CKA needs at least 4 (similarity.estimator = biased: 2)",
              s.min_tokens));
  require(
      s.threshold < largest_likeness(s),
      fmt::format("similarity.threshold = {} can never be exceeded: similarity.loss = {} is at most {}; set "
                  "similarity.threshold below that",
                  s.threshold, nn::name_of(s.loss), largest_likeness(s)));
  if (!enabled) return;
  constexpr std::int64_t kMostExperts = 4096;
  require(experts >= 2, "similarity.enabled compares experts: moe.experts must be at least 2");
  require(
      experts <= kMostExperts,
      fmt::format("similarity.enabled counts all pairs of experts: moe.experts must be at most {}, got {}",
                  kMostExperts, experts));
}

}  // namespace simsmoe::moe
