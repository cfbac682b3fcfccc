#pragma once
// Where the tests of the real binary run it: a folder with a text and a tiny model.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <thread>

#include <nlohmann/json.hpp>

#include "apps/config_io.hpp"
#include "apps/run_checkpoint.hpp"
#include "tests/apps/program.hpp"

namespace simsmoe::app {

// A folder with a text, a configuration of a tiny model and, when asked for, a finished run.
struct Workplace {
  TemporaryFolder folder;

  explicit Workplace(bool trained = false) {
    Config config = tiny_config(folder.file("text", small_text()));
    folder.file("tiny.toml", dump_config(config));
    if (trained) REQUIRE(run({"train", "tiny.toml", "--out", "run"}).exit_code == 0);
  }

  ProgramResult run(std::vector<std::string> arguments, rlim_t file_limit = RLIM_INFINITY) const {
    if (arguments[0] != "data" && arguments[0] != "info" && arguments[0] != "nonsense")
      arguments.insert(arguments.end(), {"--threads", "1"});
    return Program(folder, arguments, file_limit).wait();
  }

  // Of a line of bash, in which $app is the binary.
  ProgramResult shell(const std::string& line) const { return Program::shell(folder, line).wait(); }

  // Fails with this exit code and one line on stderr that contains `message`.
  void refused(const std::vector<std::string>& arguments, const std::string& message, int exit_code = 2,
               rlim_t file_limit = RLIM_INFINITY) const {
    const ProgramResult result = run(arguments, file_limit);
    CAPTURE(result.err);
    CHECK(result.exit_code == exit_code);
    const std::size_t error = result.err.find("error: ");
    REQUIRE(error != std::string::npos);
    CHECK(result.err.find(message, error) != std::string::npos);
    CHECK(std::count(result.err.begin() + static_cast<std::ptrdiff_t>(error), result.err.end(), '\n') == 1);
    CHECK(result.out.empty());
  }

  std::vector<nlohmann::json> metrics() const {
    std::vector<nlohmann::json> lines;
    std::istringstream text(read_file(folder / "run/metrics.jsonl"));
    for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  TrainingState saved() const {
    return load_run_checkpoint(folder / "run/checkpoints/last.safetensors").state;
  }

  // The last line of the log is of the step of the last checkpoint, or is put off in there: nothing was lost.
  void check_saved() const {
    const TrainingState state = saved();
    CHECK(state.step > 0);
    CHECK(metrics().back()["step"] == state.step - (state.unfinished_line.empty() ? 0 : 1));
  }

  // Starts a training without end and waits until it has logged some steps.
  Program start_endless(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{
        "train",     "tiny.toml", "--out", "run", "--train.steps=1000000", "--train.schedule=constant",
        "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Program program(folder, arguments);
    for (int i = 0; i < 1000; ++i) {
      std::error_code missing;
      if (std::filesystem::file_size(folder / "run/metrics.jsonl", missing) > 2000 && !missing) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return program;
  }
};

}  // namespace simsmoe::app
