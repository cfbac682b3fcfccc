// The table of commands. A new one is a file here, a declaration in commands.hpp and a line below.

#include "apps/commands/commands.hpp"

namespace simsmoe::app {

const std::vector<Command>& commands() {
  static const std::vector<Command> table = {
      {"train", "train a model, or go on with a training", train_command},
      {"evaluate", "measure how well a model predicts a text", evaluate_command},
      {"generate", "let a model write", generate_command},
      {"gradcheck", "check every op's gradient on this machine", gradcheck_command},
      {"data", "list or prepare the texts that are known by name", data_command},
      {"info", "describe this program, or a checkpoint", info_command},
      {"bench", "measure training speed against the machine's peak", bench_command},
  };
  return table;
}

}  // namespace simsmoe::app
