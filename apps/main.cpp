// simsmoe_app COMMAND ...: exit code 0 fine, 2 the user's mistake, 1 everything else, 130 interrupted.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>

#include "apps/commands/command_line.hpp"
#include "apps/interrupt.hpp"
#include "apps/manifest.hpp"
#include "engine/caching_allocator.hpp"
#include "engine/check.hpp"
#include "engine/log.hpp"
#include "engine/printable.hpp"

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
    const std::string complaint =
        name.empty() ? "" : fmt::format("error: unknown command '{}'\n\n", simsmoe::printable(name));
    simsmoe::write_to_stderr(complaint + usage());
    return 2;
  }
  arguments.erase(arguments.begin());
  return command->run(std::move(arguments));
}

constexpr const char* kLessMemory =
    "make the model (model.dim, model.layers, moe.experts, moe.hidden), train.batch or train.seq smaller, or "
    "set train.recompute = \"sublayers\"";

int fail(int exit_code, const std::string& message) {
  simsmoe::write_to_stderr(fmt::format("error: {}\n", simsmoe::printable(message)));
  return exit_code;
}

// A standard stream that is closed (>&-) would be the next file that is opened: what is meant for the terminal would be
// written into it. Opened the wrong way round, it stays the error that it was to read or write there.
void keep_standard_streams_free() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) == -1 && errno == EBADF)
      ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

}  // namespace

int main(int argc, char** argv) {
  // A file that would grow beyond the limit is an error of write(), with a message, like a full disk.
  std::signal(SIGXFSZ, SIG_IGN);
  keep_standard_streams_free();
  try {
    return run(Arguments(argv + 1, argv + argc));
  } catch (const simsmoe::app::Interrupted& error) {
    return fail(simsmoe::app::kInterruptedExitCode, error.what());
  } catch (const simsmoe::UserError& error) {
    return fail(2, error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    return fail(2, fmt::format("cannot use {}: {}", error.path1().string(), error.code().message()));
  } catch (const simsmoe::OutOfMemory& error) {
    return fail(1, fmt::format("{}; {}", error.what(), kLessMemory));
  } catch (const std::bad_alloc&) {
    return fail(1, fmt::format("out of memory; {}", kLessMemory));
  } catch (const std::exception& error) {
    return fail(1, error.what());
  }
}
