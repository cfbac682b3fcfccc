#pragma once
// A terminal of a test's own.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace simsmoe::testing {

// A terminal whose other end can be read, as stderr while it lives.
class Terminal {
 public:
  explicit Terminal(unsigned short columns = 200)
      : mine_(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK)), before_(::dup(2)) {
    REQUIRE(mine_ >= 0);
    REQUIRE(::grantpt(mine_) == 0);
    REQUIRE(::unlockpt(mine_) == 0);
    const int theirs = ::open(::ptsname(mine_), O_RDWR | O_NOCTTY);
    REQUIRE(theirs >= 0);
    resize(columns);
    ::setenv("TERM", "xterm", 1);
    ::unsetenv("NO_COLOR");
    std::fflush(stderr);
    ::dup2(theirs, 2);
    ::close(theirs);
  }
  ~Terminal() {
    ::dup2(before_, 2);
    ::close(before_);
    ::close(mine_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void resize(unsigned short columns) const {
    const winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    REQUIRE(::ioctl(mine_, TIOCSWINSZ, &size) == 0);
  }

  // What was written since the last call; less than what a terminal keeps, or the writer waits.
  std::string text() const {
    constexpr char kEnd = '\x1d';  // what is written arrives in its order, in pieces, later: this comes last
    std::fflush(stderr);
    REQUIRE(::write(2, &kEnd, 1) == 1);
    std::string all;
    while (!all.ends_with(kEnd)) {
      pollfd arrival{.fd = mine_, .events = POLLIN, .revents = 0};
      REQUIRE(::poll(&arrival, 1, 10'000) == 1);
      char piece[4096];
      const auto size = ::read(mine_, piece, sizeof piece);
      REQUIRE(size > 0);
      all.append(piece, static_cast<std::size_t>(size));
    }
    all.pop_back();
    return all;
  }

 private:
  int mine_, before_;
};

}  // namespace simsmoe::testing
