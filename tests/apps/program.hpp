#pragma once
// Runs the real binary in a process of its own.

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "engine/file.hpp"
#include "tests/apps/support.hpp"

namespace simsmoe::app {

struct ProgramResult {
  int exit_code = 0;  // 128 + signal when it was killed
  std::string out, err;
};

class Program {
 public:
  // Starts simsmoe_app in `folder`. file_limit: no file may grow beyond so many bytes (like a full disk).
  Program(const TemporaryFolder& folder, const std::vector<std::string>& arguments,
          rlim_t file_limit = RLIM_INFINITY)
      : out_(folder / "stdout"), err_(folder / "stderr") {
    std::vector<std::string> words{SIMSMOE_APP};
    words.insert(words.end(), arguments.begin(), arguments.end());
    start(folder, std::move(words), file_limit);
  }

  // The same of a line of bash, in which $app is the binary.
  static Program shell(const TemporaryFolder& folder, const std::string& line) {
    Program program(folder);
    program.start(folder, {"/bin/bash", "-c", "app=" SIMSMOE_APP "; " + line}, RLIM_INFINITY);
    return program;
  }

  void send(int signal) const { ::kill(process_, signal); }

  ProgramResult wait() {
    int status = 0;
    ::waitpid(process_, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(out_),
            read_file(err_)};
  }

 private:
  explicit Program(const TemporaryFolder& folder) : out_(folder / "stdout"), err_(folder / "stderr") {}

  void start(const TemporaryFolder& folder, std::vector<std::string> words, rlim_t file_limit) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const std::string directory = folder.path.string();
    process_ = ::fork();
    if (process_ != 0) return;
    const rlimit limit{file_limit, file_limit};
    const bool ready = ::chdir(directory.c_str()) == 0 && ::setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                       ::dup2(::open(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), STDOUT_FILENO) >= 0 &&
                       ::dup2(::open(err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), STDERR_FILENO) >= 0;
    if (ready) ::execv(argv[0], argv.data());
    ::_exit(127);
  }

  std::string out_, err_;
  pid_t process_ = -1;
};

}  // namespace simsmoe::app
