// From names to bytes.

#include "apps/data/text_files.hpp"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "apps/data/unpack.hpp"
#include "engine/check.hpp"
#include "engine/file.hpp"
#include "engine/log.hpp"
#include "engine/utf8.hpp"

namespace simsmoe::app {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kKeptOpen = 256;  // files; many systems allow a process a thousand

bool exists(const std::string& path) {
  std::error_code unreachable;
  return path == "-" || fs::exists(path, unreachable);
}

bool is_pattern(const std::string& name) {
  return name.find_first_of("*?[") != std::string::npos || name.starts_with('~');
}

// A folder that matches is passed over: `books/*` means the books.
std::vector<std::string> matches(const std::string& pattern) {
  ::glob_t found{};
  const int result = ::glob(pattern.c_str(), GLOB_TILDE, nullptr, &found);
  std::vector<std::string> files;
  for (std::size_t i = 0; result == 0 && i < found.gl_pathc; ++i)
    if (!fs::is_directory(found.gl_pathv[i])) files.emplace_back(found.gl_pathv[i]);
  ::globfree(&found);
  if (files.empty()) throw UserError(fmt::format("there is no file {}", pattern));
  for (const std::string& file : files)  // a manifest names them
    if (!is_utf8(file))
      throw UserError(fmt::format("the name {} is not UTF-8: rename it, or leave it out", file));
  return files;
}

std::vector<std::string> names_of(const std::string& paths) {
  if (exists(paths)) return {paths};
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin <= paths.size();) {
    const std::size_t comma = std::min(paths.find(',', begin), paths.size());
    const std::string name = paths.substr(begin, comma - begin);
    begin = comma + 1;
    if (name.empty()) throw UserError(fmt::format("there is nothing before or behind a comma of {}", paths));
    if (exists(name) || !is_pattern(name))
      names.push_back(name);
    else
      std::ranges::copy(matches(name), std::back_inserter(names));
  }
  return names;
}

// A pipe, a socket or a terminal; devices without an end (/dev/zero) are none.
bool is_stream(const struct stat& status, const Descriptor& file) {
  return S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || ::isatty(file.number()) == 1;
}

Text read_stream(const Descriptor& file, const std::string& name) try {
  return Text(read_to_end(file, name));
} catch (const std::bad_alloc&) {
  throw UserError(fmt::format("{} does not fit into memory: write it to a file", name));
}

Text open_one(const std::string& name, bool keep_open) {
  if (name == "-") return read_stream(Descriptor(::dup(STDIN_FILENO)), "standard input");
  struct stat status {};
  if (::stat(name.c_str(), &status) != 0)
    throw UserError(fmt::format("cannot read {}: {}", name, std::strerror(errno)));
  if (S_ISDIR(status.st_mode))
    throw UserError(fmt::format("{} is a folder; {} takes its files", name, (fs::path(name) / "*").string()));
  // Those of /proc have no size and something to read all the same.
  const bool made_when_read = S_ISREG(status.st_mode) && status.st_size == 0;
  if (S_ISREG(status.st_mode) && !made_when_read) return Text::of_file(name, keep_open);
  const Descriptor file(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!made_when_read && !is_stream(status, file)) throw UserError(fmt::format("{} is not a file", name));
  return read_stream(file, name);
}

// The text within what is packed.
Text unpacked(Text text, const std::string& name) {
  const auto beginning = [&] { return text.bytes(0, std::min(text.size(), kTellingBytes)); };
  if (const Packing packing = packing_of(beginning()); packing != Packing::none) {
    log_info("{}: unpacking {}", name, kind_of(beginning()).name);
    text = Text(unpack(text, packing, name, watch("unpacking")));
  }
  const TextKind kind = kind_of(beginning());
  if (!kind.name.empty())
    log_warn("{} is {} and not plain text: its bytes are taken as they are{}{}", name, kind.name,
             kind.advice.empty() ? "" : "; ", kind.advice);
  return text;
}

}  // namespace

TextFiles open_text_files(const std::string& paths) {
  TextFiles all;
  all.files = names_of(paths);
  for (std::size_t i = 0; i < all.files.size(); ++i)
    all.text.append(unpacked(open_one(all.files[i], i < kKeptOpen), all.files[i]));
  if (all.text.size() == 0) throw UserError(fmt::format("{} is empty", paths));
  return all;
}

}  // namespace simsmoe::app
