// generate DIR|CHECKPOINT --prompt TEXT|--prompt-file FILE --tokens N --temperature X --top-k K --top-p P --seed N

#include "apps/commands/command_line.hpp"
#include "apps/generation.hpp"
#include "apps/language_modelling.hpp"
#include "apps/run_folder.hpp"
#include "engine/file.hpp"

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
  std::int64_t tokens = 200;
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
  machine.add_options(line);
  if (!parse(line, std::move(arguments))) return 0;

  options.validate();
  if (!prompt_file.empty()) prompt = prompt_in(prompt_file);
  RunCheckpoint checkpoint = load_run_checkpoint(find_checkpoint(path));
  const Device device = machine.use(checkpoint.threads);
  const std::unique_ptr<Tokenizer> tokenizer = tokenizer_of(checkpoint);
  const Model model(checkpoint.config, tokenizer->vocab_size(), device, std::move(checkpoint.model));
  check_prompt(prompt, *tokenizer, prompt_file.empty() ? "--prompt" : "--prompt-file");
  print_result(prompt);
  generate(*model.decoder, *tokenizer, prompt, tokens, options, checkpoint.config.train.compute_dtype(),
           [](std::string_view piece) { print_result(std::string(piece)); });
  print_result("\n");
  return 0;
}

}  // namespace simsmoe::app
