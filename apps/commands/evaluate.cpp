// evaluate DIR|CHECKPOINT [TEXT] [--split NAME] [--batches N] [--batch B] [--k K] [--capacity-factor F] [--json]

#include <cmath>

#include <nlohmann/json.hpp>

#include "apps/commands/command_line.hpp"
#include "apps/interrupt.hpp"
#include "apps/language_modelling.hpp"
#include "apps/run_folder.hpp"
#include "engine/log.hpp"
#include "engine/printable.hpp"

namespace simsmoe::app {

namespace {

struct EvaluateLine {
  std::string path, text, split;
  std::int64_t batches = 0, batch = 0, k = 0;
  double capacity_factor = 0.0;
  bool json = false;
  Machine machine;

  void add_options(CLI::App& app) {
    app.add_option("MODEL", path, "run folder (its best checkpoint) or checkpoint")
        ->required()
        ->check(not_empty());
    app.add_option("TEXT", text,
                   "another text than the model's own, the same as --data.path=TEXT; - for standard input")
        ->check(not_empty());
    app.add_option("--split", split, "train, valid, test or all; default: valid, and all of another text")
        ->check(not_empty());
    app.add_option("--batches", batches, "only so many batches, spread over the text; 0: all of it")
        ->check(whole_number(0));
    app.add_option("--batch", batch, "sequences per batch; 0: train.batch of the model")
        ->check(whole_number(0));
    app.add_option("--k", k, "experts per token, up to all; 0: moe.k of the model")->check(whole_number(0));
    app.add_option(
        "--capacity-factor", capacity_factor,
        "an expert takes at most ceil(factor * k * tokens / experts) tokens of a batch; 0: no token is "
        "dropped, whatever moe.capacity_factor is");
    app.add_flag("--json", json, "print one JSON object");
    machine.add_options(app);
    app.footer(
        "The data.* keys but data.vocab can be given as well: several files, patterns, another text by "
        "name.");
  }
};

void check_capacity(const Config& config, double factor) {
  if (!(factor >= 0.0 && std::isfinite(factor)))
    throw UserError(fmt::format("--capacity-factor: expected a number >= 0, got {}", factor));
  if (factor > 0.0 && !config.moe.traits().capacity)
    throw UserError(fmt::format("--capacity-factor: router {} drops no token", config.moe.router));
  if (factor == 0.0 && config.moe.capacity_factor > 0.0)
    log_info(
        "no token is dropped here; the training drops some (moe.capacity_factor = {}): --capacity-factor",
        config.moe.capacity_factor);
}

}  // namespace

int evaluate_command(Arguments arguments) {
  std::vector<Override> overrides = take_overrides(arguments);
  // Not data.vocab: the vocabulary is the checkpoint's.
  allow_overrides(overrides,
                  {"data.name", "data.path", "data.folder", "data.valid_fraction", "data.test_fraction"},
                  "evaluate");
  CLI::App line{"Measures how well a model predicts a text.", "evaluate"};
  EvaluateLine given;
  given.add_options(line);
  if (!parse(line, std::move(arguments))) return 0;

  if (!given.text.empty()) overrides.push_back({"data.path", given.text});
  const std::string file = find_checkpoint(given.path);
  RunCheckpoint checkpoint = load_run_checkpoint(file);
  const bool other_text =
      std::ranges::any_of(overrides, [](const Override& o) { return o.key == "data.path"; });
  const std::string split = !given.split.empty() ? given.split : other_text ? "all" : "valid";
  Config& config = checkpoint.config;
  apply_overrides(config, overrides);
  config.validate();
  check_experts_per_token(config, given.k);
  check_capacity(config, given.capacity_factor);
  const Device device = given.machine.use(checkpoint.threads);

  const Corpus corpus = open_corpus(config.data);
  const std::unique_ptr<Tokenizer> tokenizer = tokenizer_of(checkpoint);
  const TokenSequence tokens(*tokenizer, corpus.text(split_from_name(split)));
  const EvaluationBatches windows(tokens, given.batch > 0 ? given.batch : config.train.batch,
                                  config.train.seq, given.batches);
  const Model model(config, tokenizer->vocab_size(), device, std::move(checkpoint.model));
  const InterruptRequests interrupts;
  const Evaluation result = evaluate(*model.decoder, windows,
                                     {.compute_dtype = config.train.compute_dtype(),
                                      .experts_per_token = given.k,
                                      .capacity_factor = given.capacity_factor,
                                      .count_experts = true,
                                      .watch = stoppable("evaluation")});
  const std::int64_t k = given.k > 0 ? given.k : config.moe.k;

  if (!given.json) {
    std::string more;
    if (result.experts_per_token > 0.0 && std::abs(result.experts_per_token - static_cast<double>(k)) > 1e-9)
      more = fmt::format(", {:.2f} experts per token", result.experts_per_token);
    if (given.capacity_factor > 0.0)
      more += fmt::format(", {:.2f} % of the choices dropped", 100.0 * result.dropped);
    print_result(fmt::format("{}, {:.4f} nats per token, perplexity {:.3f} ({} of {}, step {}{})\n",
                             bits_text(result), result.nats_per_token, std::exp(result.nats_per_token),
                             extent_text(result), printable(corpus.path()), checkpoint.state.step, more));
    return 0;
  }
  nlohmann::ordered_json object{{"checkpoint", printable(file)},
                                {"step", checkpoint.state.step},
                                {"data", corpus.path()},
                                {"split", split},
                                {"k", k},
                                {"experts_per_token", result.experts_per_token},
                                {"capacity_factor", given.capacity_factor},
                                {"dropped", result.dropped},
                                {"tokens", result.tokens},
                                {"tokens_of_text", result.tokens_of_text},
                                {"windows", result.windows},
                                {"windows_of_text", result.windows_of_text},
                                {"loss", result.nats_per_token},
                                {"bpb", result.bits_per_byte},
                                {"perplexity", std::exp(result.nats_per_token)}};
  if (result.bits_per_character) object["bpc"] = *result.bits_per_character;
  print_result(object.dump() + "\n");
  return 0;
}

}  // namespace simsmoe::app
