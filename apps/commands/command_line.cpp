// What the commands share: parsing, checks of numbers, threads and device, output.

#include "apps/commands/command_line.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "engine/parallel_for.hpp"
#include "engine/progress.hpp"

namespace simsmoe::app {

bool parse(CLI::App& line, Arguments arguments) {
  std::ranges::reverse(arguments);  // CLI11 takes them from the back
  try {
    line.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    print_result(line.help());
    return false;
  } catch (const CLI::ParseError& error) {
    throw UserError(
        fmt::format("{} (simsmoe_app {} --help shows what is possible)", error.what(), line.get_name()));
  }
  return true;
}

CLI::Validator not_empty() {
  const auto problem = [](const std::string& text) {
    return text.empty() ? std::string("expected a name, got nothing") : std::string();
  };
  return {problem, ""};
}

CLI::Validator whole_number(std::int64_t low, std::int64_t high) {
  const auto problem = [low, high](const std::string& text) -> std::string {
    std::int64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc{} && stop == end && low <= value && value <= high) return {};
    const bool open = high == std::numeric_limits<std::int64_t>::max();
    return fmt::format("expected a whole number {}, got {}",
                       open ? fmt::format(">= {}", low) : fmt::format("in [{}, {}]", low, high), text);
  };
  return {problem, ""};
}

void Machine::add_options(CLI::App& line) {
  line.add_option("--threads", threads,
                  "processor threads; default: those of the checkpoint, else as many as there are cores")
      ->check(whole_number(1, 4096));
  line.add_option("--device", device, "cpu, cuda or cuda:N")->capture_default_str();
}

Device Machine::use(int otherwise) const {
  const int count = threads > 0 ? threads : otherwise;
  if (count > 0) set_num_threads(count);
  try {
    const Device chosen = device_from_name(device);
    runtime(chosen);
    return chosen;
  } catch (const UserError& error) {
    throw UserError(fmt::format("--device: {}", error.what()));
  }
}

void allow_overrides(const std::vector<Override>& overrides, const std::vector<std::string>& prefixes,
                     const std::string& command) {
  for (const Override& item : overrides)
    if (std::ranges::none_of(prefixes, [&](const std::string& p) { return item.key.starts_with(p); }))
      throw UserError(fmt::format("--{} has no meaning for {}: only {} can be given", item.key, command,
                                  fmt::join(prefixes, ", ")));
}

void print_result(const std::string& text) {
  Progress::erase();
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  const int reason = errno;
  const std::string message = fmt::format("cannot write to standard output: {}", std::strerror(reason));
  if (reason == EPIPE || reason == EBADF || reason == EIO) throw OutputClosed(message);  // EIO: a terminal
  throw Error(message);
}

void check_experts_per_token(const Config& config, std::int64_t k) {
  if (k > config.moe.experts)
    throw UserError(fmt::format("--k {} is more than the {} experts of the model", k, config.moe.experts));
  if (k > 0 && k != config.moe.k && !config.moe.traits().any_k)
    throw UserError(fmt::format("--k: router {} has a fixed number of experts per token, {}",
                                config.moe.router, config.moe.k));
}

}  // namespace simsmoe::app
