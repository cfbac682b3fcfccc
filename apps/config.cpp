// The one list of configuration keys: name, place, meaning, range.

#include "apps/config.hpp"

#include <charconv>
#include <sstream>

#include "engine/check.hpp"
#include "moe/router.hpp"

namespace simsmoe::app {

namespace {
const std::vector<std::string> kActivations = {"relu", "gelu", "gelu_tanh", "silu"};
}  // namespace

void DataConfig::fields(FieldList& add) {
  add("name", &name, "text: gcide, enwik8, text8, or file with data.path");
  add("path", &path, "any text file; replaces where the text of data.name lies");
  add("folder", &folder, "where prepared texts are kept");
  add("vocab", &vocab, "what a token is", one_of({"byte", "char"}));
  add("valid_fraction", &valid_fraction, "part of the text for validation, before the test part",
      from_to_below(0, 1));
  add("test_fraction", &test_fraction, "part of the text for the final test, at its end",
      from_to_below(0, 1));
}

void ModelConfig::fields(FieldList& add) {
  add("dim", &dim, "width of the residual stream (D)", between(1, 65536));
  add("layers", &layers, "how often model.pattern is repeated", between(1, 1024));
  add("heads", &heads, "attention heads; must divide model.dim", between(1, 4096));
  add("pattern", &pattern,
      "sublayers of one layer: s self-attention, f dense feed-forward, g mixture of experts");
  add("norm", &norm, "normalisation", one_of({"layer_norm", "rms_norm"}));
  add("norm_place", &norm_place, "x + f(norm(x)) or norm(x + f(x))", one_of({"pre", "post"}));
  add("positions", &positions, "how positions are told apart", one_of({"learned", "rotary", "none"}));
  add("dropout", &dropout, "on the embeddings, every sublayer's output and the dense activations",
      from_to_below(0, 1));
  add("init_std", &init_std, "standard deviation of new weights; 0: uniform in +-1/sqrt(inputs)",
      at_least(0));
  add("tie_embeddings", &tie_embeddings, "the output layer is the transposed token embedding");
  add("attention_bias", &attention_bias, "bias in the attention projections");
  add("head_bias", &head_bias, "bias of the output layer");
  add("hidden", &hidden, "inner size of a dense feed-forward ('f')", between(1, 1 << 20));
  add("activation", &activation, "of a dense feed-forward", one_of(kActivations));
  add("gated", &gated, "dense feed-forward in its gated form: act(x Wg) * (x Wu), then Wd");
  add("bias", &bias, "bias in a dense feed-forward");
}

void MoeConfig::fields(FieldList& add) {
  add("experts", &experts, "experts per layer (E)", between(1, 65536));
  add("k", &k, "experts that each token uses; at most moe.experts", between(1, 65536));
  add("hidden", &hidden, "inner size of one expert (F)", between(1, 1 << 20));
  add("router", &router, "how tokens choose experts", one_of(moe::router_names()));
  add("variant", &variant,
      "of router, balance loss and similarity learning: the paper's equations, or what the published code "
      "computes",
      one_of({"paper", "reference"}));
  add("router_order", &router_order, "softmax over the k kept scores, or the k largest of the softmax",
      one_of({"topk_softmax", "softmax_topk"}));
  add("router_bias", &router_bias, "bias of the router");
  add("activation", &activation, "inside an expert", one_of(kActivations));
  add("bias", &bias, "bias in the experts' two linear maps");
  add("dropout", &dropout, "inside an expert, after the activation", from_to_below(0, 1));
  add("init_alike", &init_alike, "share of the experts' initial weights that all have in common",
      between(0, 1));
  add("balance", &balance,
      "form of the load-balance loss: over all choices or the first ones, of the batch or of each sequence; "
      "auto: switch for moe.variant = paper, else as the router's published code has it",
      one_of({"auto", "switch", "first_choice", "sequence", "sequence_first_choice", "reference"}));
  add("balance_weight", &balance_weight, "weight of the load-balance loss; 0 turns it off", at_least(0));
  add("z_weight", &z_weight, "weight of the router z-loss; 0 turns it off", at_least(0));
  add("capacity_factor", &capacity_factor,
      "an expert takes at most ceil(factor * k * tokens / experts) tokens; 0: no token is dropped",
      at_least(0));
  add("importance_weight", &importance_weight, "noisy_topk: weight of the importance loss", at_least(0));
  add("load_weight", &load_weight, "noisy_topk: weight of the load loss", at_least(0));
  add("jitter", &jitter, "switch: size of the training noise", from_to_below(0, 1));
  add("bias_update_rate", &bias_update_rate, "loss_free: step of the selection bias", at_least(0));
  add("router_dim", &router_dim,
      "xmoe: width of its space; 0: half the experts, at least 2, and 8 for moe.variant = reference",
      between(0, 65536));
  add("k_schedule", &k_schedule,
      "experts per token while training: none, linear, cosine, exponential, multi_step, each also with "
      "_decrease; "
      "auto: linear for smoe_dropout and hyper, else none",
      one_of({"auto", "none", "linear", "cosine", "exponential", "multi_step", "linear_decrease",
              "cosine_decrease", "exponential_decrease", "multi_step_decrease"}));
  add("k_min", &k_min, "of the k schedule; 0: half the experts", between(0, 65536));
  add("k_max", &k_max, "of the k schedule; 0: all experts", between(0, 65536));
}

void SimilarityConfig::fields(FieldList& add) {
  add("enabled", &enabled, "push experts apart that say the same about the same tokens (SimSMoE)");
  add("beta", &beta, "weight of the similarity loss", at_least(0));
  add("frequency", &frequency, "f*: a pair is compared when its shared tokens add up to so many batches",
      at_least(0));
  add("threshold", &threshold, "T*: only pairs that are more alike than this are pushed apart");
  add("loss", &loss, "measure of likeness",
      one_of({"cka", "cosine", "abs_cosine", "infonce", "dcl", "nt_xent"}));
  add("kernel", &kernel,
      "of cka; auto: rbf_median, and rbf with similarity.sigma for moe.variant = reference",
      one_of({"auto", "rbf_median", "rbf", "linear"}));
  add("sigma", &sigma, "bandwidth of the kernel rbf", above(0));
  add("estimator", &estimator,
      "of cka; debiased: not inflated by few tokens; auto: debiased, and biased for moe.variant = reference",
      one_of({"auto", "debiased", "biased"}));
  add("normalize", &normalize, "scale the compared rows to length 1");
  add("reuse_outputs", &reuse_outputs, "decide whether a pair is alike on outputs that were computed anyway");
  add("min_tokens", &min_tokens,
      "compare on at least so many shared tokens; 0: 4, and 2 for moe.variant = reference", at_least(0));
  add("max_tokens", &max_tokens,
      "compare on at most so many shared tokens; 0: 256, and no limit for moe.variant = reference",
      at_least(0));
}

void CompeteConfig::fields(FieldList& add) {
  add("version", &version, "of CompeteSMoE: 2 (2025) or 1 (2024)", between(1, 2));
  add("response", &response, "how strongly an expert responds; auto: softplus in version 2, norm in 1",
      one_of({"auto", "softplus", "norm", "relu", "silu", "sigmoid"}));
  add("schedule", &schedule, "when experts compete; auto: bernoulli in version 2, lambda in 1",
      one_of({"auto", "bernoulli", "lambda"}));
  add("rate", &rate, "probability that a layer competes in a step (bernoulli)", between(0, 1));
  add("warmup", &warmup, "part of the training before the first competition (version 2)", between(0, 1));
  add("max_layers", &max_layers, "layers that compete in one step, at most (version 2)", at_least(1));
  add("iteration", &iteration, "steps for which a draw of lambda holds (version 1)", at_least(1));
  add("router_weight", &router_weight, "weight of the loss that teaches the router the outcome", at_least(0));
  add("diversity_weight", &diversity_weight, "weight of the loss on alike winners (version 2)", at_least(0));
  add("hybrid", &hybrid, "weight of the router's further loss on the winners alone (version 2)", at_least(0));
  add("distillation", &distillation, "of the outcome into the router (version 1)", one_of({"mse", "kl"}));
  add("combine_router", &combine_router, "average the response with the router's scores (version 1)");
  add("balance_responses", &balance_responses, "balance the responses of a competition, too (version 1)");
}

void HyperConfig::fields(FieldList& add) {
  add("size", &size, "inner width of the hypernetwork (S)", between(1, 1 << 20));
  add("trainable", &trainable, "train the hypernetwork, too; the paper freezes it");
}

void StableMoeConfig::fields(FieldList& add) {
  add("stage1", &stage1, "part of the training before the distilled router takes over", between(0, 1));
  add("distilled_dim", &distilled_dim, "width of the word embedding that routes", between(1, 65536));
  add("balance_weight", &balance_weight, "weight of its balance loss", at_least(0));
  add("distill_weight", &distill_weight, "weight of the distillation loss", at_least(0));
}

void TrainConfig::fields(FieldList& add) {
  add("steps", &steps, "optimizer steps in all", between(1, 1e12));
  add("batch", &batch, "sequences per micro-batch (B)", between(1, 1 << 20));
  add("seq", &seq, "tokens per sequence (T); also the longest context of the model", between(1, 1 << 20));
  add("accumulate", &accumulate, "micro-batches whose gradients are averaged in one step",
      between(1, 1 << 20));
  add("optimizer", &optimizer, "update rule", one_of({"adamw", "adam", "sgd"}));
  add("lr", &lr, "peak learning rate", above(0));
  add("schedule", &schedule, "learning rate after the warm-up",
      one_of({"constant", "linear", "cosine", "multi_step"}));
  add("milestones", &milestones, "of multi_step: steps at which the rate falls, as 1000,1500");
  add("gamma", &gamma, "of multi_step: factor of the rate at each milestone",
      {.low = 0, .high = 1, .low_excluded = true});
  add("warmup", &warmup, "steps of linear warm-up from 0; train.steps at most", at_least(0));
  add("min_lr_ratio", &min_lr_ratio, "last learning rate as a fraction of train.lr", between(0, 1));
  add("beta1", &beta1, "decay of Adam's first moment", from_to_below(0, 1));
  add("beta2", &beta2, "decay of Adam's second moment", from_to_below(0, 1));
  add("eps", &eps, "Adam's epsilon", above(0));
  add("momentum", &momentum, "of sgd", from_to_below(0, 1));
  add("weight_decay", &weight_decay, "decoupled for adamw, added to the gradient otherwise", at_least(0));
  add("clip", &clip, "largest global gradient norm; 0 turns clipping off", at_least(0));
  add("dtype", &dtype, "what linear maps and experts compute in; parameters are f32",
      one_of({"f32", "bf16"}));
  add("seed", &seed, "of initial values, batches, dropout and samples", between(0, 9e15));
  add("log_every", &log_every, "steps between log lines", at_least(1));
  add("eval_every", &eval_every, "steps between validations; 0: only at the end", at_least(0));
  add("eval_batches", &eval_batches, "batches of a validation, spread over the text; 0: all of it",
      at_least(0));
  add("compare_experts", &compare_experts, "measure at each validation how alike the experts of a layer are");
  add("save_every", &save_every, "steps between checkpoints; 0: only at the end", at_least(0));
  add("sample_every", &sample_every, "steps between sampled texts; 0: only at the end", at_least(0));
  add("sample_tokens", &sample_tokens, "length of a sampled text", at_least(0));
  add("sample_temperature", &sample_temperature, "of sampled texts; 0 is greedy", at_least(0));
  add("sample_prompt", &sample_prompt, "what a sampled text begins with");
}

std::vector<std::int64_t> TrainConfig::milestone_steps() const {
  std::vector<std::int64_t> found;
  std::istringstream list(milestones);
  for (std::string text; std::getline(list, text, ',');) {
    std::int64_t step = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, step);
    if (error != std::errc{} || stop != end || step < (found.empty() ? 1 : found.back() + 1))
      throw UserError(
          fmt::format("train.milestones = '{}': expected ascending steps, as 1000,1500", milestones));
    found.push_back(step);
  }
  return found;
}

FieldList Config::fields() {
  FieldList list;
  list.section("data", data);
  list.section("model", model);
  list.section("moe", moe);
  list.section("similarity", similarity);
  list.section("compete", compete);
  list.section("hyper", hyper);
  list.section("stablemoe", stablemoe);
  list.section("train", train);
  return list;
}

void Config::validate() const {
  if ((train.schedule == "multi_step") == train.milestones.empty())
    throw UserError("train.schedule = \"multi_step\" and train.milestones go together: give both or neither");
  train.milestone_steps();
  if (model.dim % model.heads != 0)
    throw UserError(fmt::format("model.heads = {} does not divide model.dim = {}", model.heads, model.dim));
  if (model.positions == "rotary" && model.dim / model.heads % 2 != 0)
    throw UserError(fmt::format("rotary positions need an even head size, but model.dim / model.heads = {}",
                                model.dim / model.heads));
  if (model.pattern.empty() || model.pattern.find_first_not_of("sfg") != std::string::npos)
    throw UserError(
        fmt::format("model.pattern = '{}': expected one or more of the letters s, f and g", model.pattern));
  if (similarity.enabled && model.pattern.find('g') == std::string::npos)
    throw UserError(fmt::format(
        "similarity.enabled compares experts, and model.pattern = '{}' has none ('g')", model.pattern));
  if (moe.k > moe.experts)
    throw UserError(fmt::format("moe.k = {} is more than moe.experts = {}", moe.k, moe.experts));
  if (data.name.empty() && data.path.empty())
    throw UserError("data.name and data.path are both empty: name a text or give a file");
  if (data.valid_fraction + data.test_fraction >= 1.0)
    throw UserError(
        fmt::format("data.valid_fraction = {} and data.test_fraction = {} leave nothing to train on",
                    data.valid_fraction, data.test_fraction));
}

}  // namespace simsmoe::app
