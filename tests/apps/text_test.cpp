// Texts as rows of bytes: where they come from, what they are by their first bytes, how they are told apart.

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <set>

#include "apps/data/corpus.hpp"
#include "apps/data/text_files.hpp"
#include "apps/data/text_kind.hpp"
#include "apps/data/unpack.hpp"
#include "engine/file.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;
namespace fs = std::filesystem;

namespace {

void shell(const TemporaryFolder& folder, const std::string& line) {
  REQUIRE(std::system(fmt::format("cd {} && {}", folder.path.string(), line).c_str()) == 0);
}

std::string digits(std::size_t count) {
  std::string text;
  while (text.size() < count) text += fmt::format("{} ", text.size());
  return text.substr(0, count);
}

}  // namespace

TEST_CASE("a text of several pieces reads as one row of bytes") {
  const TemporaryFolder folder;
  const std::string whole = digits(1000);
  Text text(whole.substr(0, 10));
  text.append(Text::of_file(folder.file("a", whole.substr(10, 300))));
  text.append(Text(""));
  text.append(Text::of_file(folder.file("b", whole.substr(310, 1)), false));
  text.append(Text(whole.substr(311)));
  CHECK(text.size() == whole.size());
  CHECK(text.bytes() == whole);
  const std::set<std::size_t> places{0, 1, 9, 10, 11, 309, 310, 311, 312, 999, 1000};
  for (const std::size_t begin : places)
    for (const std::size_t end : places) {
      if (begin > end) continue;
      CAPTURE(begin);
      CAPTURE(end);
      const std::string expected = whole.substr(begin, end - begin);
      CHECK(text.bytes(begin, end - begin) == expected);
      const Text part = text.part(begin, end - begin);
      CHECK(part.bytes() == expected);
      if (part.size() > 2)
        CHECK(part.part(1, part.size() - 2).bytes() == expected.substr(1, part.size() - 2));
    }
  Text twice = text;
  twice.append(twice);
  CHECK(twice.bytes() == whole + whole);
  CHECK(Text().bytes().empty());
  CHECK(Text().part(0, 0).size() == 0);
  CHECK_THROWS_AS(text.bytes(999, 2), Error);
  CHECK_THROWS_AS(text.part(1001, 0), Error);
}

TEST_CASE("a file that changes while it is in use is noticed where it matters") {
  const TemporaryFolder folder;
  for (const bool keep_open : {true, false}) {
    CAPTURE(keep_open);
    const std::string path = folder.file("text", digits(10'000));
    const Text text = Text::of_file(path, keep_open);
    std::ofstream(path, std::ios::app) << "more";
    CHECK(text.bytes() == digits(10'000));  // as long as it was
    fs::resize_file(path, 5000);
    CHECK(text.bytes(0, 5000) == digits(5000));
    CHECK_THROWS_WITH_AS(
        text.bytes(4000, 1001),
        fmt::format("{} became shorter while it was in use: it had 10000 bytes", path).c_str(), UserError);
    // A new file of the same name is another one.
    folder.file("new", digits(10'000));
    fs::rename(folder / "new", path);
    if (keep_open)
      CHECK(text.bytes(0, 5000) == digits(5000));
    else
      CHECK_THROWS_WITH_AS(text.bytes(0, 1), doctest::Contains("was replaced by another file"), UserError);
  }
  CHECK_THROWS_WITH_AS(Text::of_file(folder.path.string()), doctest::Contains("is not a file"), UserError);
  CHECK_THROWS_WITH_AS(Text::of_file(folder / "no"), doctest::Contains("cannot read"), UserError);
}

TEST_CASE("more files than a process may have open are one text") {
  const TemporaryFolder folder;
  std::string expected;
  for (int i = 0; i < 2000; ++i) {
    folder.file(fmt::format("{:04}.txt", i), fmt::format("file {}\n", i));
    expected += fmt::format("file {}\n", i);
  }
  const TextFiles all = open_text_files(folder / "*.txt");
  CHECK(all.files.size() == 2000);
  CHECK(all.text.bytes() == expected);
  const auto open = std::distance(fs::directory_iterator("/proc/self/fd"), {});
  CHECK(open < 500);
}

TEST_CASE("names, commas and patterns stand for files in order") {
  const TemporaryFolder folder;
  for (const char* name : {"b", "a", "c,d", "e[1]", "B"}) folder.file(name, name);
  fs::create_directory(folder / "aa");
  const auto read = [&](const std::string& paths) { return open_text_files(paths).text.bytes(); };
  const auto at = [&](const std::string& name) { return folder / name; };
  CHECK(read(at("a")) == "a");
  CHECK(read(at("c,d")) == "c,d");
  CHECK(read(at("e[1]")) == "e[1]");
  CHECK(read(at("b") + "," + at("a")) == "ba");
  CHECK(read(at("[ab]")) == "ab");
  CHECK(read(at("?")) == "Bab");  // the order of bytes, and no folder
  CHECK(read(at("a*")) == "a");   // which `aa` is not part of
  CHECK(read(at("?") + "," + at("a")) == "Baba");
  CHECK(open_text_files(at("[ab]")).files == std::vector<std::string>{at("a"), at("b")});
  const auto refused = [&](const std::string& paths, const std::string& message) {
    CHECK_THROWS_WITH_AS(open_text_files(paths), doctest::Contains(message.c_str()), UserError);
  };
  refused(at("x*"), "there is no file " + at("x*"));
  folder.file("q\xff", "not UTF-8");
  refused(at("q*"), "is not UTF-8");
  CHECK(read("/proc/self/comm") == read_file("/proc/self/comm"));  // a file without a size
  refused(at("aa*"), "there is no file " + at("aa*"));
  refused(at("x"), "cannot read " + at("x"));
  refused(at("a") + ",", "nothing before or behind a comma");
  refused(fmt::format(",{}", at("a")), "nothing before or behind a comma");
  refused(at("aa"), "is a folder; " + at("aa") + "/* takes its files");
  folder.file("nothing", "");
  CHECK(read(at("a") + "," + at("nothing") + "," + at("b")) == "ab");
  refused(at("nothing"), "nothing is empty");
  const char* home = std::getenv("HOME");
  const std::string before = home == nullptr ? "" : home;
  ::setenv("HOME", folder.path.c_str(), 1);
  CHECK(read("~/a") == "a");
  ::setenv("HOME", before.c_str(), 1);
}

TEST_CASE("packed texts are read whole or not at all") {
  const TemporaryFolder folder;
  const std::string text = digits(3'000'000);  // several pieces of input and of output
  folder.file("text", text);
  folder.file("tail", "and more\n");
  shell(folder,
        "gzip -k text && xz -k text && gzip -k tail && xz -k tail && cat text.gz tail.gz > two.gz && "
        "cat text.xz tail.xz > two.xz && (cat text.gz; echo garbage) > more.gz");
  for (const auto& [ending, packing] : {std::pair{"gz", Packing::gzip}, std::pair{"xz", Packing::xz}}) {
    CAPTURE(ending);
    const std::string path = folder / fmt::format("text.{}", ending), packed = read_file(path);
    CHECK(packing_of(packed) == packing);
    CHECK(unpack(Text::of_file(path), packing, path) == text);
    CHECK(open_text_files(path).text.bytes() == text);
    CHECK(open_text_files(folder / fmt::format("two.{}", ending)).text.bytes() == text + "and more\n");
    for (const std::size_t kept : {std::size_t{7}, std::size_t{30}, packed.size() / 2, packed.size() - 1})
      CHECK_THROWS_WITH_AS(open_text_files(folder.file("short", packed.substr(0, kept))),
                           doctest::Contains("short is damaged or cut off"), UserError);
    std::string flipped = packed;
    flipped[packed.size() / 2] = static_cast<char>(flipped[packed.size() / 2] ^ 1);
    CHECK_THROWS_WITH_AS(open_text_files(folder.file("flipped", flipped)), doctest::Contains("damaged"),
                         UserError);
  }
  CHECK(open_text_files(folder / "more.gz").text.bytes() == text);
  CHECK(packing_of(text) == Packing::none);
  CHECK(unpack(Text(text), Packing::none, "text") == text);
  CHECK_THROWS_WITH_AS(unpack(Text(text), Packing::gzip, "text"), "text is damaged or cut off", UserError);
}

TEST_CASE("files that are no text are named") {
  const TemporaryFolder folder;
  folder.file("text", digits(5000));
  std::string greek;
  for (int i = 0; i < 40; ++i) greek += "\u03b1\u03b2\u03b3\u03b4\u03b5 ";
  folder.file("greek", greek);
  shell(folder,
        "iconv -f UTF-8 -t UTF-16LE greek > greek-le; tar cf t.tar text; gzip -k text; xz -k text; iconv -t "
        "UTF-16 text > wide; iconv -t UTF-16LE text > "
        "le; "
        "iconv -t UTF-16BE text > be; iconv -t UTF-32 text > wider; cp /bin/true elf");
  for (const auto& [file, name] : std::map<std::string, std::string>{{"t.tar", "a tar archive"},
                                                                     {"text.gz", "gzip data"},
                                                                     {"text.xz", "xz data"},
                                                                     {"wide", "UTF-16 text"},
                                                                     {"le", "UTF-16 text"},
                                                                     {"be", "UTF-16 text"},
                                                                     {"greek", ""},
                                                                     {"greek-le", "UTF-16 text"},
                                                                     {"wider", "UTF-32 text"},
                                                                     {"elf", "an ELF program or library"}})
    CHECK_MESSAGE(kind_of(read_file(folder / file).substr(0, kTellingBytes)).name == name, file);
  using namespace std::string_literals;
  for (const auto& [beginning, name] :
       std::map<std::string, std::string>{{"PK\x03\x04 and more"s, "a zip archive"},
                                          {"BZh91AY&SY"s, "bzip2 data"},
                                          {"\x28\xb5\x2f\xfd"s, "zstd data"},
                                          {"%PDF-1.7\n"s, "a PDF document"},
                                          {"\x89PNG\r\n\x1a\n"s, "a PNG image"},
                                          {"MZ\x90\0\x03\0\0\0"s, "binary data (it has zero bytes)"},
                                          {"one\0two"s, "binary data (it has zero bytes)"},
                                          {""s, ""},
                                          {"a"s, ""},
                                          {"BZh is a word here"s, ""},
                                          {"caf\xe9 in Latin-1"s, ""},
                                          {"\xef\xbb\xbfUTF-8 with a mark"s, ""},
                                          {digits(kTellingBytes), ""}})
    CHECK_MESSAGE(kind_of(beginning).name == name, beginning);
}

TEST_CASE("a huge text has a fingerprint at once, and an older one is still known") {
  const std::string whole = digits(1'000'000);
  const Text text(whole);
  const std::string full = fingerprint_of(text), samples = fingerprint_of(text, 999'999);
  CHECK(full.starts_with("1000000 bytes xxh3:"));
  CHECK(samples.starts_with("1000000 bytes xxh3 of samples:"));
  CHECK(fingerprint_of(text, 1'000'000) == full);
  CHECK(has_fingerprint(text, full));
  CHECK(has_fingerprint(text, samples));
  for (const std::size_t at : {std::size_t{0}, whole.size() / 2, whole.size() - 1}) {
    std::string changed = whole;
    changed[at] = 'x';
    CHECK_FALSE(has_fingerprint(Text(changed), full));
    CHECK_FALSE(
        has_fingerprint(Text(changed), samples));  // of a text of this length samples leave nothing out
  }
  CHECK_FALSE(has_fingerprint(Text(whole + "x"), samples));

  // A terabyte without a disk: to read all of it would take minutes.
  const TemporaryFolder folder;
  fs::resize_file(folder.file("huge", "the beginning"), std::uintmax_t{1} << 40);
  const Text huge = Text::of_file(folder / "huge");
  const std::string before = fingerprint_of(huge);
  CHECK(before.starts_with("1099511627776 bytes xxh3 of samples:"));
  std::fstream(folder / "huge", std::ios::in | std::ios::out).seekp(-1, std::ios::end).put('x');
  CHECK_FALSE(has_fingerprint(huge, before));
}
