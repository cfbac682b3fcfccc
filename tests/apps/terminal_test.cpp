// What a person sees: the program in a terminal of its own (tmux), at several widths.

#include <regex>

#include "tests/apps/workplace.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A bar that somebody may mistake for its remains.
bool is_bar(const std::string& row) { return contains(row, " left") || contains(row, "..] "); }

class Screen {
 public:
  // Runs a line of bash there, in which $app is the binary, and says at the end what it exited with.
  Screen(const Workplace& place, int columns, const std::string& line) : place_(place) {
    place.folder.file("line.sh", "app=" SIMSMOE_APP "\n" + line + "\necho exit code $?\nsleep 600\n");
    tmux(fmt::format("-f /dev/null new-session -d -x {} -y 24 bash line.sh", columns));
  }
  ~Screen() {
    // Ended by hand: closing the terminal would let a training save into a folder that is about to go.
    for (int i = 0; i < 500 && !rows().empty() && !contains(text("-J"), "exit code "); ++i) {
      press("C-c");
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    tmux("kill-server");
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  static bool missing(const Workplace& place) {
    if (place.shell("command -v tmux").exit_code == 0) return false;
    MESSAGE("this test is skipped: there is no tmux (third_party/install-debian.sh installs it)");
    return true;
  }

  // Rows that are not empty. options: -J joins wrapped lines, -S - begins with what has scrolled away, -e keeps colours.
  std::vector<std::string> rows(const std::string& options = "") const {
    std::vector<std::string> rows;
    std::istringstream text(tmux("capture-pane -p " + options));
    for (std::string row; std::getline(text, row);)
      if (!row.empty()) rows.push_back(row);
    return rows;
  }

  std::string text(const std::string& options = "") const {
    std::string text;
    for (const std::string& row : rows(options)) text += row + "\n";
    return text;
  }

  // Waits until the screen is as expected.
  template <class F>
  void wait(const std::string& what, const F& as_expected) const {
    for (int i = 0; i < 1000; ++i) {
      if (as_expected()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    FAIL(what, " is not to be seen in 20 seconds:\n", text());
  }
  void wait_for(const std::string& part) const {
    wait(part, [&] { return contains(text("-J"), part); });
  }
  // Of exactly one bar, below all else.
  void wait_for_bar() const {
    wait("one bar", [&] {
      const std::vector<std::string> now = rows();
      return !now.empty() && is_bar(now.back()) && std::ranges::count_if(now, is_bar) == 1;
    });
  }

  void press(const std::string& key) const { tmux("send-keys " + key); }
  void resize(int columns) const { tmux(fmt::format("resize-window -x {}", columns)); }

 private:
  std::string tmux(const std::string& command) const {
    return place_.shell(fmt::format("tmux -S tmux-{} {}", number_, command)).out;
  }

  static inline int count = 0;
  const Workplace& place_;
  const int number_ = ++count;  // a server of its own: the one of the screen before may still be ending
};

const std::string kEndless =
    "$app train tiny.toml --out run --threads 1 --train.steps=1000000 --train.schedule=constant "
    "--train.log_every=200 --train.save_every=0 --train.eval_every=0 --moe.capacity_factor=1";

// A text whose validation takes minutes.
void write_long_text(const Workplace& place) {
  std::string text = small_text();
  while (text.size() < (20 << 20)) text += text;
  place.folder.file("text", text);
}

}  // namespace

TEST_CASE("terminal: a training shows its log above one bar, at any width, and leaves no bar behind") {
  for (const int columns : {40, 80, 200}) {
    CAPTURE(columns);
    const Workplace place;
    if (Screen::missing(place)) return;
    // The table of --profile is the only result that is printed while a bar is seen.
    const Screen screen(place, columns, kEndless + (columns == 200 ? " --profile trace.json" : ""));
    screen.wait_for("step 400/1000000");
    screen.wait_for_bar();
    for (const int other : {200, 20, columns}) {
      screen.resize(other);
      screen.wait_for_bar();
    }
    // tmux tells of its width a little later: as wide as there is room for, or something to say.
    screen.wait("a wide bar", [&] {
      const std::vector<std::string> now = screen.rows();
      return is_bar(now.back()) && static_cast<int>(now.back().size()) > std::min(columns - 20, 82);
    });
    screen.press("C-c");
    screen.wait_for("exit code 130");
    const std::regex line(
        "step [0-9]+00/1000000  loss [0-9.]+  task [0-9.]+  balance [0-9.]+  z [0-9.]+  bpb [0-9.]+  lr [^ "
        "]+  "
        "grad [0-9.]+  load [0-9.]+-[0-9.]+  dropped [0-9.]+  [0-9]+ tokens/s  [0-9]+ MB");
    int lines = 0;
    for (const std::string& row : screen.rows("-J -S -")) {
      CAPTURE(row);
      if (row.starts_with("step ")) CHECK(std::regex_match(row, line));
      lines += row.starts_with("step ");
      CHECK_FALSE(is_bar(row));
    }
    CHECK(lines >= 2);
    CHECK(contains(screen.text("-J"), "\ninterrupted at step "));
  }
}

TEST_CASE(
    "terminal: the bar has colour, but not where NO_COLOR asks for none, and a dumb terminal has no bar") {
  const Workplace place;
  if (Screen::missing(place)) return;
  for (const char* variables : {"", "NO_COLOR=1 ", "TERM=dumb "}) {
    CAPTURE(variables);
    std::filesystem::remove_all(place.folder.path / "run");
    const Screen screen(place, 80, variables + kEndless + " --train.steps=20000");
    if (contains(variables, "TERM")) {
      screen.wait_for("step 1000/20000");
      CHECK(std::ranges::none_of(screen.rows(), is_bar));
    } else {
      screen.wait_for_bar();
      // What is filled is coloured. One picture tells both: the next one may be without a bar.
      const std::string coloured = "[\x1b[36m#", plain = "[#";
      std::string seen;
      screen.wait("a cell", [&] {
        seen = screen.text("-e");
        return contains(seen, coloured) || contains(seen, plain);
      });
      CHECK(contains(seen, coloured) == std::string(variables).empty());
    }
  }
}

TEST_CASE(
    "terminal: the final validation and an evaluation show how far they are, and end at the first Ctrl-C") {
  const Workplace place;
  if (Screen::missing(place)) return;
  write_long_text(place);
  {
    const Screen screen(place, 80,
                        "$app train tiny.toml --out run --threads 1 --train.steps=2 --train.final_share=1");
    screen.wait_for("final validation [");
    screen.wait_for_bar();
    screen.press("C-c");
    screen.wait_for("exit code 130");
    CHECK(contains(screen.text("-J"), "\ninterrupted in the final validation, after step 2; go on with: "));
    CHECK(std::ranges::none_of(screen.rows(), is_bar));
  }
  const Screen screen(place, 80, "$app evaluate run --threads 1");
  screen.wait_for("evaluation [");
  screen.wait_for_bar();
  screen.press("C-c");
  screen.wait_for("exit code 130");
  CHECK(std::ranges::count(screen.rows(), "error: interrupted") == 1);
  CHECK(std::ranges::none_of(screen.rows(), is_bar));
}

TEST_CASE("terminal: control bytes of a text are shown, unless they are asked for") {
  const Workplace place(true);
  if (Screen::missing(place)) return;
  const std::string line =
      "$app generate run --threads 1 --tokens 0 --prompt $'a\\e[31mb\\xff caf\\xc3\\xa9' ";
  const Screen shown(place, 80, line + "; " + line + "--raw");
  shown.wait_for("exit code 0");
  const std::string text = shown.text("-e");
  CHECK(contains(text, "a\\x1b[31mb\\xff caf\u00e9\n"));
  CHECK(contains(text, "a\x1b[31mb"));
}
