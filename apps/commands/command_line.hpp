#pragma once
// What the commands' command lines have in common.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "apps/commands/commands.hpp"
#include "apps/config_io.hpp"
#include "engine/check.hpp"
#include "engine/device.hpp"

namespace simsmoe::app {

// Fills what the options of `line` are bound to. Throws UserError on a mistake; returns false when --help was
// asked for and has been printed.
bool parse(CLI::App& line, Arguments arguments);

// What an option may be: any text but none. An unset variable (--out "$RUN") is no choice.
CLI::Validator not_empty();
// A whole number from `low` to `high`.
CLI::Validator whole_number(std::int64_t low, std::int64_t high = std::numeric_limits<std::int64_t>::max());

// --threads and --device, of train, evaluate and generate.
struct Machine {
  int threads = 0;  // 0: as many as there are cores, or as the checkpoint says
  std::string device = "cpu";

  void add_options(CLI::App& line);
  // Sets the number of threads (`otherwise` when none was given; 0: leaves it) and returns the device. Throws
  // UserError when there is no such device.
  Device use(int otherwise = 0) const;
};

// Throws UserError when an override's key does not begin with one of `sections` ("data.", "train.steps").
void allow_overrides(const std::vector<Override>& overrides, const std::vector<std::string>& prefixes,
                     const std::string& command);

// Throws UserError when the model of the configuration cannot be run with --k experts per token. 0: as configured.
void check_experts_per_token(const Config& config, std::int64_t k);

// Nobody reads what a command prints: the other end is closed, or there never was one (>&-).
class OutputClosed : public Error {
 public:
  using Error::Error;
};

// Writes to stdout. Throws Error when that fails (a full disk behind a redirection), OutputClosed when nobody reads it.
void print_result(const std::string& text);

}  // namespace simsmoe::app
