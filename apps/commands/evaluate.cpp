// evaluate DIR|CHECKPOINT [--data.path=FILE] [--split NAME] [--batches N] [--k K] [--json]

#include <cmath>

#include <nlohmann/json.hpp>

#include "apps/commands/command_line.hpp"
#include "apps/language_modelling.hpp"
#include "apps/run_folder.hpp"

namespace simsmoe::app {

namespace {

void check_experts_per_token(const Config& config, std::int64_t k) {
  if (k > config.moe.experts)
    throw UserError(fmt::format("--k {} is more than the {} experts of the model", k, config.moe.experts));
  if (k > 0 && k != config.moe.k && !config.moe.traits().any_k)
    throw UserError(fmt::format("--k: router {} has a fixed number of experts per token, {}",
                                config.moe.router, config.moe.k));
}

}  // namespace

int evaluate_command(Arguments arguments) {
  const std::vector<Override> overrides = take_overrides(arguments);
  // Not data.vocab: the vocabulary is the checkpoint's.
  allow_overrides(overrides,
                  {"data.name", "data.path", "data.folder", "data.valid_fraction", "data.test_fraction"},
                  "evaluate");
  CLI::App line{"Measures how well a model predicts a text.", "evaluate"};
  std::string path, split_name;
  std::int64_t batches = 0, experts_per_token = 0;
  bool json = false;
  Machine machine;
  line.add_option("MODEL", path, "run folder (its best checkpoint) or checkpoint")->required();
  line.add_option("--split", split_name,
                  "train, valid, test or all; default: valid, and all of a file given with --data.path");
  line.add_option("--batches", batches, "only so many batches, spread over the text; 0: all of it")
      ->check(whole_number(0));
  line.add_option("--k", experts_per_token, "experts per token, up to all; 0: moe.k of the model")
      ->check(whole_number(0));
  line.add_flag("--json", json, "print one JSON object");
  machine.add_options(line);
  line.footer(
      "--data.path=FILE evaluates on another text; the other data.* keys but data.vocab can be given as "
      "well.");
  if (!parse(line, std::move(arguments))) return 0;

  const std::string file = find_checkpoint(path);
  RunCheckpoint checkpoint = load_run_checkpoint(file);
  const bool other_text =
      std::ranges::any_of(overrides, [](const Override& o) { return o.key == "data.path"; });
  const Split split = split_from_name(!split_name.empty() ? split_name : other_text ? "all" : "valid");
  Config& config = checkpoint.config;
  apply_overrides(config, overrides);
  config.validate();
  check_experts_per_token(config, experts_per_token);
  const Device device = machine.use(checkpoint.threads);

  const Corpus corpus = open_corpus(config.data);
  const std::unique_ptr<Tokenizer> tokenizer = tokenizer_of(checkpoint);
  const TokenSequence tokens(*tokenizer, corpus.bytes(split));
  const EvaluationBatches windows(tokens, config.train.batch, config.train.seq, batches);
  const Model model(config, tokenizer->vocab_size(), device, std::move(checkpoint.model));
  const Evaluation result = evaluate(*model.decoder, windows, tokens.bytes_per_token(),
                                     {.compute_dtype = config.train.compute_dtype(),
                                      .experts_per_token = experts_per_token,
                                      .count_experts = true});
  const std::int64_t k = experts_per_token > 0 ? experts_per_token : config.moe.k;

  if (json)
    print_result(
        nlohmann::ordered_json{{"checkpoint", file},
                               {"step", checkpoint.state.step},
                               {"data", corpus.path()},
                               {"split", split_name.empty() ? other_text ? "all" : "valid" : split_name},
                               {"k", k},
                               {"experts_per_token", result.experts_per_token},
                               {"tokens", result.tokens},
                               {"loss", result.nats_per_token},
                               {"bpc", result.bits_per_byte},
                               {"perplexity", std::exp(result.nats_per_token)}}
            .dump() +
        "\n");
  else
    print_result(fmt::format(
        "{:.4f} bits per character, {:.4f} nats per token, perplexity {:.3f} ({} tokens of {}, step {}{})\n",
        result.bits_per_byte, result.nats_per_token, std::exp(result.nats_per_token), result.tokens,
        corpus.path(), checkpoint.state.step,
        result.experts_per_token > 0.0 && std::abs(result.experts_per_token - static_cast<double>(k)) > 1e-9
            ? fmt::format(", {:.2f} experts per token", result.experts_per_token)
            : ""));
  return 0;
}

}  // namespace simsmoe::app
