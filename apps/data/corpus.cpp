#include "apps/data/corpus.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "apps/data/compression.hpp"
#include "apps/folder_lock.hpp"
#include "engine/check.hpp"
#include "engine/file.hpp"

namespace simsmoe::app {

namespace fs = std::filesystem;

namespace {

constexpr const char* kGcideSource = "/usr/share/dictd/gcide.dict.dz";

struct Known {
  const char* name;
  const char* description;
  const char* licence;
  const char* source;  // a file to unpack, or where to get the text
  bool unpackable;
};

constexpr std::array kKnown{
    Known{"gcide", "GNU Collaborative International Dictionary of English, 40 MB", "GPL-2+", kGcideSource,
          true},
    Known{"enwik8", "first 100 MB of the English Wikipedia dump of 2006", "CC BY-SA 3.0, GFDL",
          "http://mattmahoney.net/dc/enwik8.zip", false},
    Known{"text8", "100 MB of enwik9 as a-z and spaces", "CC BY-SA 3.0, GFDL",
          "http://mattmahoney.net/dc/text8.zip", false},
};

const Known* find_known(const std::string& name) {
  for (const Known& known : kKnown)
    if (name == known.name) return &known;
  return nullptr;
}

std::string prepared_path(const Known& known, const std::string& folder) {
  return (fs::path(folder) / (known.unpackable ? std::string(known.name) + ".txt" : known.name)).string();
}

void unpack_gzip(const std::string& source, const std::string& destination) {
  const std::string folder = fs::path(destination).parent_path().string();
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw UserError(fmt::format("cannot make the folder {}: {}", folder, error.message()));
  const FolderLock lock(folder, IfLocked::wait);
  if (fs::exists(destination)) return;  // another process was faster
  const std::string text = read_gzip_file(source);
  const std::string_view pieces[] = {text};
  replace_file(destination, pieces);
}

}  // namespace

// The bytes of a file, read by the system as they are touched.
class Corpus::Mapping {
 public:
  explicit Mapping(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);  // no waiting for a pipe
    if (file < 0) throw UserError(fmt::format("cannot read {}: {}", path, std::strerror(errno)));
    struct stat info {};
    const bool regular = ::fstat(file, &info) == 0 && S_ISREG(info.st_mode);
    size_ = regular ? static_cast<std::size_t>(info.st_size) : 0;
    if (size_ > 0) data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
    ::close(file);
    if (!regular) throw UserError(fmt::format("{} is not a file", path));
    if (size_ == 0) throw UserError(fmt::format("{} is empty", path));
    if (data_ == MAP_FAILED) throw UserError(fmt::format("cannot map {}: {}", path, std::strerror(errno)));
  }
  ~Mapping() { ::munmap(data_, size_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::string_view text() const { return {static_cast<const char*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

Split split_from_name(const std::string& name) {
  constexpr std::array<const char*, 4> names{"train", "valid", "test", "all"};
  for (std::size_t i = 0; i < names.size(); ++i)
    if (name == names[i]) return static_cast<Split>(i);
  throw UserError(fmt::format("unknown split '{}': train, valid, test or all", name));
}

Corpus Corpus::open(const CorpusOptions& options) {
  if (!(options.valid_fraction > 0 && options.test_fraction >= 0 &&
        options.valid_fraction + options.test_fraction < 1))
    throw UserError(
        fmt::format("data.valid_fraction = {} and data.test_fraction = {}: expected fractions of a whole "
                    "that leave something to train on",
                    options.valid_fraction, options.test_fraction));
  Corpus corpus;
  corpus.name_ = options.name;
  if (!options.path.empty()) {
    corpus.path_ = options.path;
  } else if (options.name == "file") {
    throw UserError("data.name = \"file\" needs data.path, the text to read");
  } else {
    corpus.path_ = prepare_corpus(options.name, options.folder);
  }
  corpus.mapping_ = std::make_shared<const Mapping>(corpus.path_);
  // Cut from the end, so that the standard split of enwik8 and text8 (90 / 5 / 5 MB) comes out exactly.
  const std::size_t size = corpus.mapping_->text().size();
  const auto part = [size](double fraction) {
    return static_cast<std::size_t>(std::floor(static_cast<double>(size) * fraction));
  };
  corpus.valid_end_ = size - part(options.test_fraction);
  corpus.train_end_ = corpus.valid_end_ - part(options.valid_fraction);
  return corpus;
}

std::string_view Corpus::bytes(Split split) const {
  const std::string_view text = mapping_->text();
  switch (split) {
    case Split::train:
      return text.substr(0, train_end_);
    case Split::valid:
      return text.substr(train_end_, valid_end_ - train_end_);
    case Split::test:
      return text.substr(valid_end_);
    case Split::all:
      return text;
  }
  return text;
}

std::string Corpus::fingerprint() const {
  const std::string_view text = mapping_->text();
  return fmt::format("{} bytes xxh3:{:016x}", text.size(), XXH3_64bits(text.data(), text.size()));
}

std::vector<KnownCorpus> known_corpora(const std::string& folder) {
  std::vector<KnownCorpus> rows;
  for (const Known& known : kKnown) {
    const std::string path = prepared_path(known, folder);
    rows.push_back({known.name, known.description, known.licence, known.source, path, fs::exists(path),
                    known.unpackable && fs::exists(known.source)});
  }
  return rows;
}

std::string prepare_corpus(const std::string& name, const std::string& folder) {
  const Known* known = find_known(name);
  if (known == nullptr)
    throw UserError(
        fmt::format("unknown data.name '{}': gcide, enwik8, text8, or file with data.path", name));
  std::string path = prepared_path(*known, folder);
  if (fs::exists(path)) return path;
  if (!known->unpackable)
    throw UserError(
        fmt::format("{} is not there: get {}, unpack it to {}, or say where it is with --data.path=FILE",
                    name, known->source, path));
  if (!fs::exists(known->source))
    throw UserError(fmt::format("{} is not there: install Debian's package dict-{} (it brings {})", name,
                                name, known->source));
  unpack_gzip(known->source, path);
  return path;
}

}  // namespace simsmoe::app
