// simsmoe_app COMMAND ...: exit code 0 fine, 2 the user's mistake, 1 everything else, 130 interrupted.

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>

#include "apps/commands/command_line.hpp"
#include "apps/manifest.hpp"
#include "engine/check.hpp"

namespace {

using simsmoe::app::Arguments;
using simsmoe::app::Command;

std::string usage() {
  std::string text =
      fmt::format("simsmoe {}: sparse mixtures of experts from scratch\n\nusage: simsmoe_app COMMAND ...\n\n",
                  simsmoe::app::kVersion);
  for (const Command& command : simsmoe::app::commands())
    text += fmt::format("  {:<10} {}\n", command.name, command.description);
  return text + "\nsimsmoe_app COMMAND --help describes a command; train --help all configuration keys.\n";
}

int run(Arguments arguments) {
  const std::string name = arguments.empty() ? "" : arguments.front();
  if (name == "--help" || name == "-h" || name == "help") {
    simsmoe::app::print_result(usage());
    return 0;
  }
  if (name == "--version") {
    simsmoe::app::print_result(fmt::format("simsmoe {}\n", simsmoe::app::kVersion));
    return 0;
  }
  const auto& table = simsmoe::app::commands();
  const auto command = std::ranges::find(table, std::string_view(name), &Command::name);
  if (command == table.end()) {
    if (!name.empty()) fmt::print(stderr, "error: unknown command '{}'\n\n", name);
    fmt::print(stderr, "{}", usage());
    return 2;
  }
  arguments.erase(arguments.begin());
  return command->run(std::move(arguments));
}

}  // namespace

int main(int argc, char** argv) {
  // A file that would grow beyond the limit is an error of write(), with a message, like a full disk.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return run(Arguments(argv + 1, argv + argc));
  } catch (const simsmoe::UserError& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 2;
  } catch (const std::filesystem::filesystem_error& error) {
    fmt::print(stderr, "error: cannot use {}: {}\n", error.path1().string(), error.code().message());
    return 2;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "error: out of memory: make the model, the batch or the sequence smaller\n");
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
