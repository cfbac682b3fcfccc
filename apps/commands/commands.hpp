#pragma once
// The commands of simsmoe_app: one free function each, given the arguments behind its name; returns the exit
// code. Errors are exceptions, which main() turns into exit codes.

#include <string>
#include <vector>

namespace simsmoe::app {

using Arguments = std::vector<std::string>;

int train_command(Arguments arguments);
int evaluate_command(Arguments arguments);
int generate_command(Arguments arguments);
int gradcheck_command(Arguments arguments);
int data_command(Arguments arguments);
int info_command(Arguments arguments);
int bench_command(Arguments arguments);

struct Command {
  const char* name;
  const char* description;
  int (*run)(Arguments);
};

const std::vector<Command>& commands();

}  // namespace simsmoe::app
