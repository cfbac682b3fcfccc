// What the commands read and write: files of somebody else that stay as they are, streams, packed and foreign files.

#include <map>
#include <set>

#include "apps/run_checkpoint.hpp"
#include "apps/run_folder.hpp"
#include "tests/apps/workplace.hpp"

using namespace simsmoe;
using namespace simsmoe::app;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// Everything below a folder: a file with its content, a link with its target.
std::map<std::string, std::string> tree_of(const std::string& folder) {
  std::map<std::string, std::string> tree;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    std::string& content = tree[entry.path().string()];
    if (entry.is_symlink())
      content = "-> " + fs::read_symlink(entry).string();
    else if (entry.is_regular_file())
      content = read_file(entry.path().string());
  }
  return tree;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

json evaluated(const ProgramResult& result) {
  CAPTURE(result.err);
  REQUIRE(result.exit_code == 0);
  return json::parse(result.out);
}

}  // namespace

TEST_CASE("a run begins in a folder of its own and leaves alone what was in another") {
  const Workplace place;
  const fs::path exp = place.folder / "exp";
  const auto refused = [&](const std::string& named) {
    const auto before = tree_of(exp.string());
    CAPTURE(named);
    place.refused({"train", "tiny.toml", "--out", "exp"}, "exp exists already and has " + named);
    CHECK(tree_of(exp.string()) == before);
    fs::remove_all(exp);
  };
  for (const char* name : {"config.toml", "manifest.json", "metrics.jsonl", "notes", "config.toml.tmp",
                           "checkpoints/mine", "checkpoints/best.safetensors"}) {
    fs::create_directories((exp / name).parent_path());
    place.folder.file(std::string("exp/") + name, "of somebody");
    refused(std::string(name).substr(0, std::string(name).find('/')));
  }
  for (const char* name : {"config.toml", "checkpoints"}) {  // links, to something and to nothing
    fs::create_directory(exp);
    fs::create_symlink("../text", exp / name);
    refused(name);
    fs::create_directory(exp);
    fs::create_symlink("nothing", exp / name);
    refused(name);
  }
  fs::create_directories(exp / "checkpoints");
  fs::create_symlink("../../text", exp / "checkpoints/last.safetensors.tmp");
  refused("checkpoints");

  fs::create_directory(exp);
  fs::copy_file(place.folder / "tiny.toml", exp / "config.toml");
  const std::string mine = read_file((exp / "config.toml").string());
  place.refused({"train", "exp/config.toml", "--out", "exp"}, "as --out exp/run");
  CHECK(read_file((exp / "config.toml").string()) == mine);
  CHECK(place.run({"train", "exp/config.toml", "--out", "exp/run"}).exit_code == 0);

  fs::create_directories(place.folder / "empty/folder");
  fs::create_directory_symlink("empty/folder", place.folder / "link");
  CHECK(place.run({"train", "tiny.toml", "--out", "link"}).exit_code == 0);
  CHECK(fs::is_symlink(place.folder / "link"));
}

TEST_CASE("runs without --out that begin at the same time have a folder each, named after their text") {
  const Workplace place;
  const std::string train =
      "$app train --data.path=text --model.dim=8 --model.heads=1 --train.steps=1 --threads 1";
  REQUIRE(place.shell(fmt::format("{0} & {0} & {0} & wait", train)).exit_code == 0);
  for (int n = 1; n <= 3; ++n)
    CHECK(fs::exists(place.folder / fmt::format("runs/text-{}/checkpoints/best.safetensors", n)));
  CHECK(fs::exists(place.folder / "runs/text-4") == false);
  CHECK(place.shell("$app train tiny.toml --threads 1 && test -d runs/tiny-1").exit_code == 0);
}

TEST_CASE("an edited config.toml is no way to change a run, and stays as it is") {
  const Workplace place(true);
  const std::string path = place.folder / "run/config.toml", before = read_file(path);
  const auto edit = [&](const std::string& from, const std::string& to) {
    std::string text = before;
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    place.folder.file("run/config.toml", text.replace(at, from.size(), to));
    return read_file(path);
  };
  std::string edited = edit("dropout = 0.1", "dropout = 0.25");
  place.refused({"train", "--resume", "run"},
                "run/config.toml was edited, model.dropout = 0.25 instead of 0.1: a resumed run keeps its");
  CHECK(read_file(path) == edited);
  edited = edit("[train]", "# a note of somebody\n[train]");
  CHECK(place.run({"train", "--resume", "run"}).exit_code == 0);
  CHECK(read_file(path) == edited);
  edit("steps = 40", "steps = 60");
  CHECK(contains(place.run({"train", "--resume", "run"}).err,
                 "has train.steps = 60, but this run 40; --train.steps changes it"));
  CHECK(place.run({"train", "--resume", "run", "--train.steps=42"}).exit_code == 0);
  CHECK(contains(read_file(path), "\nsteps = 42 "));
}

TEST_CASE("a configuration is read from streams to its end, and an empty one is refused") {
  const Workplace place;
  const std::string wanted = read_file(place.folder / "tiny.toml");
  const auto trains = [&](const std::string& line) {
    CAPTURE(line);
    fs::remove_all(place.folder / "run");
    const ProgramResult result = place.shell(line + " --out run --threads 1");
    CHECK_MESSAGE(result.exit_code == 0, result.err);
    CHECK(read_file(place.folder / "run/config.toml") == wanted);
  };
  trains("$app train <(cat tiny.toml)");
  trains("$app train <(head -c 100 tiny.toml; sleep 0.2; tail -c +101 tiny.toml)");
  trains("cat tiny.toml | $app train -");
  fs::remove_all(place.folder / "run");

  place.folder.file("blank.toml", "# nothing\n\n[train]\n");
  for (const char* empty : {"/dev/null", "blank.toml"}) {
    place.refused({"train", empty, "--out", "run"}, fmt::format("{} sets no key", empty));
    place.refused({"bench", empty}, fmt::format("{} sets no key", empty));
  }
  const ProgramResult nothing = place.shell("$app train <(true) --out run");
  CHECK(nothing.exit_code == 2);
  CHECK(contains(nothing.err, "sets no key"));
  CHECK(!fs::exists(place.folder / "run"));
}

TEST_CASE("an empty name is a mistake, and not the same as none") {
  const Workplace place(true);
  const auto before = tree_of(place.folder.path.string());
  place.refused({"train", "tiny.toml", "--out", "new", "--data.path="}, "--data.path is empty: leave it out");
  place.refused({"train", "tiny.toml", "--out", "new", "--data.folder="}, "data.folder is empty");
  place.refused({"train", "tiny.toml", "--out", "new", "--data.name="},
                "data.name and data.path are both empty");
  place.refused({"train", ""}, "CONFIG: expected a name, got nothing");
  place.refused({"train", "tiny.toml", "--out", ""}, "--out: expected a name, got nothing");
  place.refused({"train", "--resume", ""}, "--resume: expected a name, got nothing");
  place.refused({"train", "tiny.toml", "--profile", ""}, "--profile: expected a name, got nothing");
  place.refused({"evaluate", ""}, "MODEL: expected a name, got nothing");
  place.refused({"evaluate", "run", ""}, "TEXT: expected a name, got nothing");
  place.refused({"evaluate", "run", "--split", ""}, "--split: expected a name, got nothing");
  place.refused({"generate", ""}, "MODEL: expected a name, got nothing");
  place.refused({"generate", "run", "--prompt-file", ""}, "--prompt-file: expected a name, got nothing");
  place.refused({"info", ""}, "MODEL: expected a name, got nothing");
  place.refused({"data", "--folder", "", "list"}, "--folder: expected a name, got nothing");
  auto after = tree_of(place.folder.path.string());
  for (const char* log : {"stdout", "stderr"}) after[place.folder / log] = before.at(place.folder / log);
  CHECK(after == before);
}

TEST_CASE("a run on a file of one's own says so") {
  const Workplace place;
  REQUIRE(place
              .run({"train", "--data.path=text", "--out", "run", "--model.dim=8", "--model.heads=1",
                    "--train.steps=1"})
              .exit_code == 0);
  for (const std::string& text :
       {read_file(place.folder / "run/config.toml"), place.run({"info", "run"}).out}) {
    CHECK(contains(text, "\nname = \"file\""));
    CHECK(contains(text, "\npath = \"text\""));
  }
  CHECK(contains(place.run({"info", "run"}).out, "trained on text,"));
  CHECK(contains(place.run({"train", "--resume", "run"}).err, "text: "));
  const json data = json::parse(read_file(place.folder / "run/manifest.json"))["data"];
  CHECK(data["name"] == "file");
  CHECK(data["files"] == json::array({"text"}));
  // Another text by name takes the place of the file, not the other way round.
  place.refused({"evaluate", "run", "--data.name=enwik8"}, "enwik8 is not there");
}

TEST_CASE("texts are read packed, from streams, from several files, and others are named for what they are") {
  const Workplace place(true);
  REQUIRE(place
              .shell("gzip -k text; xz -k text; split -n 3 text part-; cat part-aa.gz > a 2>/dev/null; "
                     "gzip -c part-aa > parts.gz; gzip -c part-ab part-ac >> parts.gz")
              .exit_code == 0);
  const auto bits = [&](const std::string& line) {
    CAPTURE(line);
    const json result = evaluated(place.shell("$app evaluate run --json --threads 1 " + line));
    CHECK(result["tokens"] == fs::file_size(place.folder / "text") - 1);
    return result["loss"].get<double>();
  };
  const double loss = bits("text");
  for (const char* line :
       {"--data.path=text", "text.gz", "text.xz", "parts.gz", "- < text", "- < text.gz", "<(cat text)",
        "--data.path='part-*'", "'part-a?'", "part-aa,part-ab,part-ac", "'part-aa,part-a[bc]'"})
    CHECK(bits(line) == loss);
  CHECK(evaluated(place.shell("cat text | $app evaluate run - --json --threads 1"))["data"] == "-");

  fs::copy_file(place.folder / "text", place.folder / "a,b[1].txt");
  CHECK(bits("'a,b[1].txt'") == loss);  // a name that exists is that file

  REQUIRE(place.shell("$app train tiny.toml --out packed --data.path=text.xz --threads 1").exit_code == 0);
  const auto losses = [&](const char* run) {
    std::vector<double> all;
    std::istringstream lines(read_file(place.folder / fmt::format("{}/metrics.jsonl", run)));
    for (std::string line; std::getline(lines, line);) all.push_back(json::parse(line)["train/loss"]);
    return all;
  };
  CHECK(losses("packed") == losses("run"));
  // The fingerprint is the text's own: a run may go on with the same text unpacked.
  CHECK(place.run({"train", "--resume", "packed", "--data.path=text"}).exit_code == 0);

  place.refused({"evaluate", "run", "part-*.txt"}, "data.path: there is no file part-*.txt");
  place.refused({"evaluate", "run", "part-aa,missing"}, "data.path: cannot read missing: No such file");
  place.refused({"evaluate", "run", "part-aa,"},
                "data.path: there is nothing before or behind a comma of part-aa,");
  place.refused({"evaluate", "run", "run"}, "data.path: run is a folder; run/* takes its files");
  place.refused({"evaluate", "run", "/dev/zero"}, "data.path: /dev/zero is not a file");
  place.folder.file("cut.xz", read_file(place.folder / "text.xz").substr(0, 200));
  place.refused({"evaluate", "run", "cut.xz"}, "data.path: cut.xz is damaged or cut off");

  REQUIRE(place.shell("iconv -t UTF-16 text > wide; tar -cf text.tar text; gzip text.tar").exit_code == 0);
  for (const auto& [file, message] : std::map<std::string, std::string>{
           {"wide",
            "wide is UTF-16 text and not plain text: its bytes are taken as they are; convert it first"},
           {"text.tar.gz", "text.tar.gz is a tar archive and not plain text"},
           {"run/checkpoints/last.safetensors", "is binary data"}}) {
    const ProgramResult result = place.run({"evaluate", "run", file});
    CHECK(result.exit_code == 0);
    CHECK_MESSAGE(contains(result.err, "warning: "), result.err);
    CHECK_MESSAGE(contains(result.err, message), result.err);
  }
  CHECK(!contains(place.run({"evaluate", "run", "text"}).err, "warning"));
}

TEST_CASE("a text that becomes shorter while it is in use is one error, and the run can go on") {
  const Workplace place;
  const std::string whole = read_file(place.folder / "text");
  Program program = place.start_endless();
  fs::resize_file(place.folder / "text", 1000);
  const ProgramResult result = program.wait();
  CHECK(result.exit_code == 2);
  CHECK(contains(result.err,
                 fmt::format("text became shorter while it was in use: it had {} bytes", whole.size())));
  CHECK(contains(result.err, "; the last good checkpoint is run/checkpoints/last.safetensors"));
  place.refused({"train", "--resume", "run"}, "is not the text that this run began with");
  place.folder.file("text", whole);
  const auto step = load_run_checkpoint(place.folder / "run/checkpoints/last.safetensors").state.step;
  CHECK(place.run({"train", "--resume", "run", fmt::format("--train.steps={}", step + 20)}).exit_code == 0);
}

TEST_CASE("a prompt comes from a file or a stream") {
  const Workplace place(true);
  const auto written = [&](const std::string& line) {
    CAPTURE(line);
    const ProgramResult result = place.shell("$app generate run --tokens 20 --threads 1 " + line);
    CHECK_MESSAGE(result.exit_code == 0, result.err);
    return result.out;
  };
  const std::string text = written("--prompt 'the lazy'");
  CHECK(text.starts_with("the lazy"));
  place.folder.file("prompt", "the lazy\n");
  place.folder.file("dos", "the lazy\r\n");
  place.folder.file("bare", "the lazy");
  for (const char* line : {"--prompt-file prompt", "--prompt-file dos", "--prompt-file bare",
                           "--prompt-file - < prompt", "--prompt-file <(cat prompt)"})
    CHECK(written(line) == text);
  place.folder.file("prompt", "the lazy\n\n");
  CHECK(written("--prompt-file prompt").starts_with("the lazy\n"));

  place.refused({"generate", "run", "--prompt-file", "empty"}, "cannot read empty");
  place.folder.file("empty", "");
  place.refused({"generate", "run", "--prompt-file", "empty"}, "--prompt-file: empty is empty");
  place.refused({"generate", "run", "--prompt-file", "prompt", "--prompt", "x"},
                "--prompt excludes --prompt-file");
  REQUIRE(
      place.run({"train", "tiny.toml", "--out", "char", "--data.vocab=char", "--train.steps=1"}).exit_code ==
      0);
  place.refused({"generate", "char", "--prompt", "Z"}, "--prompt: the character 'Z' at byte 0 is not in");
  place.folder.file("prompt", "Z");
  place.refused({"generate", "char", "--prompt-file", "prompt"},
                "--prompt-file: the character 'Z' at byte 0 is not");
}

TEST_CASE("what is no checkpoint is called that") {
  const Workplace place(true);
  place.folder.file("short", "abc");
  place.folder.file("nothing", "");
  place.folder.file("json", "12345678{\"a\": 1}");
  for (const char* file : {"text", "tiny.toml", "short", "nothing", "json", "run/manifest.json"})
    for (const char* command : {"evaluate", "generate", "info"})
      place.refused({command, file}, fmt::format("{} is not a checkpoint", file));
  place.refused({"train", "--resume", "run/checkpoints/last.safetensors"},
                "is a file: expected the folder of a run");
  const std::string foreign = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(foreign.size());
  place.folder.file("foreign", bytes + foreign + "x");
  place.refused({"evaluate", "foreign"}, "foreign: there is no checksum: it was not written by this program");
}

TEST_CASE("what is no configuration is called what it is") {
  const Workplace place(true);
  place.refused({"train", "run"}, "run is a folder: expected a configuration file; train --resume goes on");
  place.refused({"train", "run/checkpoints/last.safetensors"},
                "last.safetensors is binary data (it has zero bytes): expected a configuration file in TOML");
  const ProgramResult wide = place.shell("iconv -t UTF-16 tiny.toml > wide.toml; $app train wide.toml");
  CHECK(contains(wide.err,
                 "wide.toml is UTF-16 text: expected a configuration file in TOML; convert it first"));
}

TEST_CASE("whatever a file is called, its name harms neither terminal nor JSON") {
  const Workplace place(true);
  fs::copy_file(place.folder / "text", place.folder / "re\x1b[31md");
  const std::string shown = "re\\x1b[31md", raw = "re\x1b[31md";
  CHECK(contains(place.run({"evaluate", "run", raw}).out, shown));
  CHECK(contains(place.run({"train", "tiny.toml", "--out", raw + "-run"}).out, "run folder  " + shown));
  const std::string information = place.run({"info", raw + "-run"}).out;
  CHECK(contains(information, shown));
  CHECK_FALSE(contains(information, "\x1b"));
  fs::rename(place.folder / "run", place.folder / "r\xff");
  CHECK(json::parse(place.run({"evaluate", "r\xff", "--json"}).out)["checkpoint"] ==
        "r\\xff/checkpoints/best.safetensors");
  place.refused({"train", "tiny.toml", "--init", "r\xff"}, "--train.init: expected a text");
  fs::copy_file(place.folder / "text", place.folder / "t\xff");
  place.refused({"train", "tiny.toml", "--data.path=t*", "--out", "new"},
                "data.path: the name t\\xff is not UTF-8");
  CHECK_FALSE(fs::exists(place.folder / "new"));
}

TEST_CASE("--profile takes no file that is no trace, and costs no validation where it cannot be written") {
  const Workplace place;
  const std::string mine = read_file(place.folder / "tiny.toml");
  place.refused({"train", "--profile", "tiny.toml"}, "--profile: tiny.toml exists already and is no trace");
  CHECK(read_file(place.folder / "tiny.toml") == mine);
  const ProgramResult failed = place.run({"train", "tiny.toml", "--out", "run", "--profile", "no/trace"});
  CHECK(failed.exit_code == 1);
  CHECK(contains(failed.out, "\nvalidation  "));
  CHECK(fs::exists(place.folder / "run/result.json"));
  for (const char* out : {"a", "b"})  // a trace is replaced by the next one
    CHECK(place.run({"train", "tiny.toml", "--out", out, "--profile", "trace"}).exit_code == 0);
}
