// Text in, bits per byte out.

#include "apps/language_modelling.hpp"

#include <chrono>
#include <cmath>

#include "apps/data/compression.hpp"
#include "apps/generation.hpp"
#include "apps/interrupt.hpp"
#include "apps/run_folder.hpp"
#include "engine/log.hpp"

namespace simsmoe::app {

namespace {

constexpr const char *kVocabulary = "vocabulary", *kFingerprint = "fingerprint";

// Tried before the first step: a prompt that the vocabulary cannot express would otherwise stop the run at
// its first sample. The default one gives way to an empty one, since nobody asked for it.
std::string usable_prompt(const std::string& prompt, const Tokenizer& tokenizer) {
  try {
    tokenizer.encode(prompt);
  } catch (const UserError& error) {
    if (prompt == TrainConfig().sample_prompt) return {};
    throw UserError(fmt::format("train.sample_prompt: {}", error.what()));
  }
  return prompt;
}

Validation validation_of(Evaluation result) {
  Validation validation{.score = result.bits_per_byte,
                        .metrics = std::move(result.metrics),
                        .summary = "validation " + bits_text(result)};
  const auto add = [&](const char* name, double value) {
    validation.metrics.add("valid", name, value, nn::Combine::last);
  };
  add("loss", result.nats_per_token);
  add("bpb", result.bits_per_byte);
  if (result.bits_per_character) add("bpc", *result.bits_per_character);
  add("perplexity", std::exp(result.nats_per_token));
  add("tokens", static_cast<double>(result.tokens));
  validation.metrics.gather("valid",
                            "expert_cka");  // the mean over the layers whose experts meet often enough
  return validation;
}

}  // namespace

LanguageModelling::LanguageModelling(const Config& config, Device device,
                                     std::unique_ptr<Tokenizer> tokenizer, std::vector<NamedTensor> tensors)
    : config_(config),
      data_(config.data, std::move(tokenizer)),
      fingerprint_(fingerprint_of(data_.corpus.text(Split::all), kHashedWhole, watch("hashing"))),
      sample_prompt_(usable_prompt(config.train.sample_prompt, *data_.tokenizer)),
      batches_(data_.train, config.train.batch, config.train.seq,
               static_cast<std::uint64_t>(config.train.seed)),
      validation_(data_.valid, config.train.batch, config.train.seq, config.train.eval_batches),
      model_(config, data_.tokenizer->vocab_size(), device, std::move(tensors)) {}

Variable LanguageModelling::loss(std::uint64_t number, nn::ForwardContext& ctx) const {
  const Batch batch = batches_.at(number);
  const Device device = model_.store.device();
  Variable loss = model_.decoder->loss(batch.tokens.to(device), batch.targets.to(device), ctx);
  if (ctx.collect_metrics) {
    const auto add = [&](const std::string& name, double factor) {
      ctx.metrics.add("train", name, loss.value(), nn::Combine::per_pass, factor);
    };
    add(score_name(),
        bits_per_byte(1.0, static_cast<double>(batch.bytes) / static_cast<double>(batch.counted)));
    if (data_.train.kind() == TokenKind::character) add("bpc", bits_per_byte(1.0, 1.0));
  }
  return loss;
}

Evaluation LanguageModelling::evaluated(const EvaluationBatches& batches, const Watch& watch) const {
  return evaluate(*model_.decoder, batches,
                  {.compute_dtype = config_.train.compute_dtype(),
                   .compare_experts = config_.train.compare_experts,
                   .watch = watch});
}

Validation LanguageModelling::validate() const {
  return validation_of(evaluated(validation_, stoppable("validation")));
}

std::string LanguageModelling::sample() const {
  const TrainConfig& train = config_.train;
  if (train.sample_tokens == 0) return {};
  const SamplingOptions options{.temperature = train.sample_temperature,
                                .seed = static_cast<std::uint64_t>(train.seed)};
  const auto count = [watch = stoppable("sample"), total = train.sample_tokens,
                      done = std::int64_t{0}](std::string_view) mutable { watch(++done, total); };
  return sample_prompt_ + generate(*model_.decoder, *data_.tokenizer, sample_prompt_, train.sample_tokens,
                                   options, train.compute_dtype(), count);
}

std::string LanguageModelling::headline() const {
  const Corpus& corpus = data_.corpus;
  std::string text = config_.data.text();
  if (corpus.files().size() > 1) text += fmt::format(" ({} files)", corpus.files().size());
  return fmt::format("{}: {} tokens to train on, vocabulary {}", text, data_.train.size(),
                     data_.tokenizer->vocab_size());
}

Ending LanguageModelling::ending(const Pace& pace) const {
  constexpr std::size_t kAffordable = 4 << 20;  // bytes; a longer text is not compressed
  const TrainConfig& train = config_.train;
  const EvaluationBatches all(data_.valid, train.batch, train.seq);
  double seconds = pace.validation_seconds;
  if (seconds == 0.0 && train.final_share < 1.0) {
    const auto start = std::chrono::steady_clock::now();
    evaluated(validation_, stoppable("validation"));
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  const double per_batch = seconds / static_cast<double>(validation_.size());
  const std::int64_t count =
      final_batches(all.size(), train.eval_batches, train.final_share, pace.training_seconds, per_batch);
  const bool whole = count == all.size();
  log_info("final validation: {} of {} batches{}", count, all.size(),
           whole ? std::string(", the whole text")
                 : fmt::format(", spread evenly; all would take about {} after a training of {} "
                               "(train.final_share = {})",
                               duration_text(per_batch * static_cast<double>(all.size())),
                               duration_text(pace.training_seconds), train.final_share));
  const Evaluation result =
      evaluated(EvaluationBatches(data_.valid, train.batch, train.seq, count), stoppable("final validation"));
  Ending ending{.lines = fmt::format("validation  {} ({})\n", bits_text(result), extent_text(result)),
                .figures = validation_of(result).metrics.read()};
  ending.figures["valid/windows"] = result.windows;
  ending.figures["valid/windows_of_text"] = result.windows_of_text;
  const Text text = data_.corpus.text(Split::valid);
  if (whole && text.size() <= kAffordable) ending.lines += compared(text);
  return ending;
}

nlohmann::ordered_json LanguageModelling::about_data() const {
  return {{"name", data_.corpus.name()},
          {"path", data_.corpus.path()},
          {"files", data_.corpus.files()},
          {"fingerprint", fingerprint_},
          {"vocabulary", data_.tokenizer->vocab_size()},
          {"train_tokens", data_.train.size()},
          {"valid_tokens", data_.valid.size()}};
}

std::map<std::string, std::string> LanguageModelling::metadata() const {
  return {{kVocabulary, data_.tokenizer->description()}, {kFingerprint, fingerprint_}};
}

std::unique_ptr<Tokenizer> tokenizer_of(const RunCheckpoint& checkpoint) {
  return tokenizer_from_description(checkpoint.metadata_at(kVocabulary));
}

std::unique_ptr<Task> make_task(const Config& config, Device device) {
  if (config.train.init.empty()) return std::make_unique<LanguageModelling>(config, device);
  const std::string file = find_checkpoint(config.train.init);
  try {
    RunCheckpoint first = load_run_checkpoint(file);
    std::unique_ptr<Tokenizer> tokenizer = tokenizer_of(first);
    if (tokenizer->kind() != config.data.vocab)
      throw UserError(fmt::format(
          "data.vocab = {} would give token ids another meaning than the checkpoint's, which is of {}",
          nn::name_of(config.data.vocab), nn::name_of(tokenizer->kind())));
    auto task =
        std::make_unique<LanguageModelling>(config, device, std::move(tokenizer), std::move(first.model));
    log_info("begins with {}, step {}: {} tensors, {} parameters", file, first.state.step,
             task->store().load_report().loaded.size(), task->store().num_elements());
    return task;
  } catch (const UserError& error) {
    throw UserError(fmt::format("{} (train.init = {})", error.what(), file));
  }
}

std::unique_ptr<Task> make_task(RunCheckpoint& checkpoint, Device device) {
  auto task = std::make_unique<LanguageModelling>(checkpoint.config, device, tokenizer_of(checkpoint),
                                                  std::move(checkpoint.model));
  const Corpus& corpus = task->data().corpus;
  const Text text = corpus.text(Split::all);
  const std::string then = checkpoint.metadata_at(kFingerprint);
  if (task->metadata().at(kFingerprint) != then && !has_fingerprint(text, then, watch("hashing")))
    throw UserError(
        fmt::format("{} is not the text that this run began with: {} now, {} then; if that lies "
                    "elsewhere, say where with --data.path=FILE",
                    corpus.path(), fingerprint_of(text), then));
  return task;
}

}  // namespace simsmoe::app
