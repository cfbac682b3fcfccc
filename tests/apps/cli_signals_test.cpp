// What comes from outside while the program runs: signals, a terminal that is closed, readers who go away.

#include <pty.h>

#include "tests/apps/workplace.hpp"

using namespace simsmoe;
using namespace simsmoe::app;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

void wait_for_log(const Workplace& place, std::uintmax_t bytes) {
  for (int i = 0; i < 1000; ++i) {
    std::error_code missing;
    if (fs::file_size(place.folder / "run/metrics.jsonl", missing) > bytes && !missing) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  FAIL("the training does not log");
}

// A training of two steps with a long text, interrupted when it says this.
ProgramResult interrupted_at(const Workplace& place, const std::string& part,
                             const std::vector<std::string>& more) {
  std::string text = small_text();
  while (text.size() < (20 << 20)) text += text;
  place.folder.file("text", text);
  std::vector<std::string> arguments{"train",     "tiny.toml", "--out",          "run",
                                     "--threads", "1",         "--train.steps=2"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  Program program(place.folder, arguments);
  const auto says = [&] {
    const std::string file = place.folder / "stderr";
    return fs::exists(file) && read_file(file).find(part) != std::string::npos;
  };
  for (int i = 0; i < 1000 && !says(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  program.send(SIGINT);
  return program.wait();
}

const std::string kEndless =
    "train tiny.toml --out run --threads 1 --train.steps=1000000 --train.schedule=constant "
    "--train.save_every=0 --train.eval_every=0";

}  // namespace

TEST_CASE("SIGINT, SIGTERM and SIGHUP finish the step, save and exit with 130") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    CAPTURE(signal);
    const Workplace place;
    Program program = place.start_endless({"--train.save_every=0", "--train.eval_every=0"});
    program.send(signal);
    if (signal != SIGINT) program.send(signal);  // `timeout` and a closing terminal send theirs twice
    const ProgramResult result = program.wait();
    CHECK(result.exit_code == 130);
    CHECK(result.err.find("go on with: simsmoe_app train --resume run") != std::string::npos);
    place.check_saved();
  }
}

TEST_CASE("under nohup a closed terminal is nobody's business") {
  const Workplace place;
  Program program = Program::shell(place.folder, "trap '' HUP; exec $app " + kEndless);
  wait_for_log(place, 2000);
  program.send(SIGHUP);
  wait_for_log(place, fs::file_size(place.folder / "run/metrics.jsonl") + 5000);
  program.send(SIGTERM);
  CHECK(program.wait().exit_code == 130);
  place.check_saved();
}

TEST_CASE("a training whose terminal is closed saves, though there is nowhere to say so") {
  const Workplace place;
  int terminal = -1;
  const pid_t process = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (process == 0) {
    const std::string line = std::string("exec " SIMSMOE_APP " ") + kEndless;
    if (::chdir(place.folder.path.c_str()) == 0) ::execl("/bin/bash", "bash", "-c", line.c_str(), nullptr);
    ::_exit(127);
  }
  // A terminal that nobody reads is full after a while: the bar is read away.
  std::thread reader([&] {
    char text[4096];
    while (!fs::exists(place.folder / "run/metrics.jsonl") ||
           fs::file_size(place.folder / "run/metrics.jsonl") < 5000)
      if (::read(terminal, text, sizeof text) <= 0) break;
  });
  reader.join();
  ::close(terminal);
  int status = 0;
  ::waitpid(process, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 130);
  place.check_saved();
}

TEST_CASE("readers who go away end no training") {
  for (const char* end : {"2>&1 | head -n 1", "2>&1 | true", "2> >(true) | true", "| true"}) {
    CAPTURE(end);
    const Workplace place;
    const ProgramResult result = place.shell(
        fmt::format("$app train tiny.toml --out run --threads 1 {}; exit ${{PIPESTATUS[0]}}", end));
    CHECK_MESSAGE(result.exit_code == 0, result.err);
    CHECK(place.saved().step == 40);
    CHECK(place.metrics().size() == 40);
  }
}

TEST_CASE("standard streams that are closed are not mistaken for files") {
  const Workplace place;
  const ProgramResult result =
      place.shell("$app train tiny.toml --out run --threads 1 --profile trace.json 0<&- >&- 2>&-");
  CHECK(result.exit_code == 0);
  CHECK(place.metrics().size() == 40);  // which are all JSON
  CHECK(place.saved().step == 40);
  CHECK(json::parse(read_file(place.folder / "trace.json")).size() > 0);
  const ProgramResult refused = place.shell("$app evaluate run --threads 1 >&-");
  CHECK(refused.exit_code == 1);
  CHECK(refused.err == "error: cannot write to standard output: Bad file descriptor\n");
  CHECK(place.shell("$app evaluate run - --threads 1 <&-").exit_code == 2);
}

TEST_CASE("a command whose output nobody reads any more ends at once, as others do") {
  const Workplace place(true);
  const ProgramResult result =
      place.shell("$app generate run --tokens 1000000000 --threads 1 | head -c 10; exit ${PIPESTATUS[0]}");
  CHECK(result.exit_code == 128 + SIGPIPE);
  CHECK(result.out.size() == 10);
  CHECK(result.err.empty());
}

TEST_CASE("the first Ctrl-C ends the final validation, and the run goes on to it") {
  const Workplace place;
  const ProgramResult result = interrupted_at(place, "final validation:", {"--train.final_share=1"});
  CHECK(result.exit_code == 130);
  CHECK(
      result.err.find(
          "interrupted in the final validation, after step 2; go on with: simsmoe_app train --resume run") !=
      std::string::npos);
  CHECK(result.out.empty());
  CHECK(place.saved().step == 2);
  CHECK_FALSE(fs::exists(place.folder / "run/result.json"));

  const ProgramResult resumed = place.run({"train", "--resume", "run", "--train.final_share=0"});
  CHECK_MESSAGE(resumed.exit_code == 0, resumed.err);
  CHECK(resumed.out.find(" windows, ") != std::string::npos);
  const json figures = json::parse(read_file(place.folder / "run/result.json"));
  CHECK(figures["step"] == 2);
  CHECK(figures["valid/windows"] < figures["valid/windows_of_text"]);
  CHECK(place.metrics().size() == 2);
  CHECK(place.saved().step == 2);
}

TEST_CASE("the first Ctrl-C ends a validation within the training, and a sample, however long") {
  for (const char* work : {"--train.eval_batches=0", "--train.sample_tokens=100000000"}) {
    CAPTURE(work);
    const Workplace place;
    const ProgramResult result =
        interrupted_at(place, "step 1/2", {"--train.eval_every=1", "--train.sample_every=1", work});
    CHECK(result.exit_code == 130);
    CHECK(result.err.find("interrupted at step 1; go on with: simsmoe_app train --resume run") !=
          std::string::npos);
    CHECK(place.saved().step == 1);
    CHECK(place.metrics().empty());
  }
}
