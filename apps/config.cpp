// The keys of [data] and [train], and the order of the sections.

#include "apps/config.hpp"

#include "engine/check.hpp"

namespace simsmoe::app {

using nn::at_least;
using nn::between;
using nn::from_to_below;

void DataConfig::fields(nn::FieldList& add) {
  add("name", &name, "text: gcide, enwik8, text8, or file with data.path");
  add("path", &path,
      "text files, also packed (gzip, xz): one, several as a,b, a pattern as 'books/*', - for stdin")
      .one_or_several()
      .may_be_absent();
  add("folder", &folder, "where prepared texts are kept");
  add("vocab", &vocab, "what a token is");
  add("valid_fraction", &valid_fraction, "part of the text for validation, before the test part",
      {.low = 0, .high = 1, .low_excluded = true, .high_excluded = true});
  add("test_fraction", &test_fraction, "part of the text for the final test, at its end",
      from_to_below(0, 1));
}

void DataConfig::settle(bool name_given, bool path_given) {
  if (path_given && !name_given && !path.empty()) name = "file";
  if (name_given && !path_given) path.clear();
}

void DataConfig::check() const {
  if (name.empty() && path.empty())
    throw UserError("data.name and data.path are both empty: name a text or give a file");
  if (folder.empty()) throw UserError("data.folder is empty: name a folder, as \"data\" or \".\"");
  if (valid_fraction + test_fraction >= 1.0)
    throw UserError(
        fmt::format("data.valid_fraction = {} and data.test_fraction = {} leave nothing to train on",
                    valid_fraction, test_fraction));
}

void TrainConfig::fields(nn::FieldList& add) {
  nn::ScheduleOptions::fields(add);
  nn::OptimizerOptions::fields(add);
  add("batch", &batch, "sequences per micro-batch (B)", between(1, 1 << 20));
  add("seq", &seq, "tokens per sequence (T); also the longest context of the model", between(1, 1 << 20));
  add("accumulate", &accumulate, "micro-batches whose gradients are averaged in one step",
      between(1, 1 << 20));
  add("clip", &clip, "largest global gradient norm; 0 turns clipping off", at_least(0));
  add("dtype", &dtype, "what linear maps and experts compute in; parameters are f32");
  add("recompute", &recompute,
      "sublayers: keep their inputs alone and compute the rest again in the backward pass; less memory, the "
      "same bits");
  add("seed", &seed, "of initial values, batches, dropout and samples", between(0, 9e15));
  add("log_every", &log_every, "steps between log lines", at_least(1));
  add("eval_every", &eval_every, "steps between validations; 0: only at the end", at_least(0));
  add("eval_batches", &eval_batches, "batches of a validation, spread over the text; 0: all of it",
      at_least(0));
  add("final_share", &final_share,
      "part of the training's time that the final validation may take: the whole text where that is enough, "
      "else "
      "windows spread over it; 1: always the whole text",
      between(0, 1));
  add("compare_experts", &compare_experts, "measure at each validation how alike the experts of a layer are");
  add("patience", &patience,
      "validations in a row without a better one that end the training before its last step; 0: none do",
      at_least(0));
  add("save_every", &save_every, "steps between checkpoints; 0: only at the end", at_least(0));
  add("keep", &keep, "checkpoints that stay beside the last one, as step-NUMBER, the newest so many; 0: none",
      at_least(0));
  add("sample_every", &sample_every, "steps between sampled texts; 0: only at the end", at_least(0));
  add("sample_tokens", &sample_tokens, "length of a sampled text", at_least(0));
  add("sample_temperature", &sample_temperature, "of sampled texts; 0 is greedy", at_least(0));
  add("sample_prompt", &sample_prompt, "what a sampled text begins with");
  add("init", &init, "checkpoint or run folder to begin with the parameters of; empty: they are drawn")
      .may_be_absent();
}

nn::FieldList Config::fields() {
  nn::FieldList list;
  list.section("data", data);
  list.section("model", model);
  moe.sections(list, has_experts() ? "" : "no 'g' in model.pattern");
  list.section("train", train);
  return list;
}

void Config::validate() const {
  data.check();
  model.check();
  moe.check();
  train.check();
  if (train.patience > 0 && train.eval_every == 0)
    throw UserError(fmt::format(
        "train.patience = {} waits for validations, and train.eval_every = 0 makes none before the end",
        train.patience));
  if (moe.similarity.enabled && !has_experts())
    throw UserError(fmt::format(
        "similarity.enabled compares experts, and model.pattern = '{}' has none ('g')", model.pattern));
}

}  // namespace simsmoe::app
