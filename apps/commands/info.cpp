// info   and   info DIR|CHECKPOINT

#include <thread>

#include "apps/commands/command_line.hpp"
#include "apps/language_modelling.hpp"
#include "apps/manifest.hpp"
#include "apps/run_folder.hpp"
#include "engine/cpu/gemm.hpp"
#include "engine/parallel_for.hpp"
#include "engine/printable.hpp"

namespace simsmoe::app {

namespace {

std::string program_text() {
  return fmt::format("simsmoe {} ({} {}, {})\nprocessor: {}, {} threads\nCUDA: {}\nmatrix products: {}\n",
                     kVersion,
#ifdef __clang__
                     "clang", __clang_version__,
#else
                     "g++", __VERSION__,
#endif
#ifdef NDEBUG
                     "release",
#else
                     "debug",
#endif
                     runtime(kCpu).description(), num_threads(), SIMSMOE_CUDA ? "built in" : "not built in",
                     cpu::name_of(cpu::gemm_library()));
}

std::string checkpoint_text(const std::string& file) {
  RunCheckpoint checkpoint = load_run_checkpoint(file);
  const Model model(checkpoint.config, tokenizer_of(checkpoint)->vocab_size(), kCpu,
                    std::move(checkpoint.model));
  const nn::Account account = model.decoder->account();
  std::string text = fmt::format(
      "# {}, trained on {}, step {}, best validation {:.4f} bits per byte, {}\n", printable(file),
      printable(checkpoint.config.data.text()), checkpoint.state.step, checkpoint.state.best_score,
      checkpoint.optimizer.tensors.empty() ? "without optimizer state" : "with optimizer state");
  text += dump_config(checkpoint.config) + "\n";
  for (const nn::Parameter& parameter : model.store.parameters())
    text += fmt::format("{:<56} {:>20} {:>10}\n", parameter.variable.name(),
                        parameter.variable.shape().to_string(), parameter.variable.value().numel());
  return text + fmt::format("{:<56} {:>20} {:>10}\n{:<56} {:>20} {:>10}\n{:<56} {:>20} {:>10.0f}\n",
                            "parameters", "", account.parameters, "active per token", "",
                            account.active_parameters, "FLOPs per token, forward", "",
                            account.flops_per_token);
}

}  // namespace

int info_command(Arguments arguments) {
  CLI::App line{"Describes this program and machine, or a checkpoint and its parameters.", "info"};
  std::string path;
  line.add_option("MODEL", path, "run folder (its best checkpoint) or checkpoint")->check(not_empty());
  if (!parse(line, std::move(arguments))) return 0;
  print_result(path.empty() ? program_text() : checkpoint_text(find_checkpoint(path)));
  return 0;
}

}  // namespace simsmoe::app
