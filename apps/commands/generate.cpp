// generate DIR|CHECKPOINT --prompt TEXT|--prompt-file FILE --tokens N --temperature X --top-k K --top-p P --seed N --k K
// --samples N

#include <unistd.h>

#include "apps/commands/command_line.hpp"
#include "apps/generation.hpp"
#include "apps/language_modelling.hpp"
#include "apps/run_folder.hpp"
#include "engine/file.hpp"
#include "engine/printable.hpp"

namespace simsmoe::app {

namespace {

// Editors end a file with a line break, which is not meant.
std::string prompt_in(const std::string& file) {
  std::string prompt = read_input(file);
  if (prompt.empty()) throw UserError(fmt::format("--prompt-file: {} is empty", file));
  if (prompt.ends_with('\n')) prompt.pop_back();
  if (prompt.ends_with('\r')) prompt.pop_back();
  return prompt;
}

// Refused before anything is printed.
void check_prompt(const std::string& prompt, const Tokenizer& tokenizer, const std::string& option) {
  try {
    tokenizer.encode(prompt);
  } catch (const UserError& error) {
    throw UserError(fmt::format("{}: {}", option, error.what()));
  }
}

}  // namespace

int generate_command(Arguments arguments) {
  // The word behind --prompt is the prompt, even if it looks like an option.
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i)
    if (arguments[i] == "--prompt") {
      arguments[i] += "=" + arguments[i + 1];
      arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    }
  allow_overrides(take_overrides(arguments), {}, "generate");
  CLI::App line{"Lets a model write: the prompt and what follows, on standard output.", "generate"};
  std::string path, prompt, prompt_file;
  std::int64_t tokens = 200, samples = 1;
  bool raw = false;
  SamplingOptions options;
  Machine machine;
  line.add_option("MODEL", path, "run folder (its best checkpoint) or checkpoint")
      ->required()
      ->check(not_empty());
  line.add_option("--prompt", prompt,
                  "what the text begins with; default: a line break, or the vocabulary's first character");
  line.add_option("--prompt-file", prompt_file,
                  "the same from a file without its last line break; - for standard input")
      ->check(not_empty())
      ->excludes("--prompt");
  line.add_option("--tokens", tokens, "how many tokens to write")
      ->capture_default_str()
      ->check(whole_number(0));
  line.add_option("--temperature", options.temperature, "0: always the most likely token")
      ->capture_default_str();
  line.add_option("--top-k", options.top_k, "only the k most likely tokens; 0: all")->capture_default_str();
  line.add_option("--top-p", options.top_p, "only the likeliest tokens that together reach this probability")
      ->capture_default_str();
  line.add_option("--seed", options.seed, "of the draws")->capture_default_str()->check(whole_number(0));
  line.add_option("--k", options.experts_per_token, "experts per token, up to all; 0: moe.k of the model")
      ->check(whole_number(0));
  line.add_option(
          "--samples", samples,
          "how many texts, the first with --seed, the next with the seed after it; each has a heading")
      ->capture_default_str()
      ->check(whole_number(1));
  line.add_flag(
      "--raw", raw,
      "on a terminal too, print control bytes as they are; without it they are shown as \\xNN there");
  machine.add_options(line);
  if (!parse(line, std::move(arguments))) return 0;

  options.validate();
  raw = raw || ::isatty(STDOUT_FILENO) != 1;  // what is not for eyes is for programs
  if (!prompt_file.empty()) prompt = prompt_in(prompt_file);
  RunCheckpoint checkpoint = load_run_checkpoint(find_checkpoint(path));
  check_experts_per_token(checkpoint.config, options.experts_per_token);
  const Device device = machine.use(checkpoint.threads);
  const std::unique_ptr<Tokenizer> tokenizer = tokenizer_of(checkpoint);
  const Model model(checkpoint.config, tokenizer->vocab_size(), device, std::move(checkpoint.model));
  check_prompt(prompt, *tokenizer, prompt_file.empty() ? "--prompt" : "--prompt-file");
  for (std::int64_t sample = 1; sample <= samples; ++sample, ++options.seed) {
    if (samples > 1)
      print_result(fmt::format("--- sample {} of {}, seed {}\n", sample, samples, options.seed));
    PrintableStream shown;
    const auto print = [&](std::string_view piece) {
      print_result(raw ? std::string(piece) : shown.add(piece));
    };
    print(prompt);
    generate(*model.decoder, *tokenizer, prompt, tokens, options, checkpoint.config.train.compute_dtype(),
             print);
    print_result(shown.finish() + "\n");
  }
  return 0;
}

}  // namespace simsmoe::app
