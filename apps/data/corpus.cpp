#include "apps/data/corpus.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <memory>

#include "apps/data/text_files.hpp"
#include "apps/data/unpack.hpp"
#include "apps/folder_lock.hpp"
#include "engine/check.hpp"
#include "engine/file.hpp"

namespace simsmoe::app {

namespace fs = std::filesystem;

namespace {

constexpr const char* kOfSamples = " of samples";  // in a fingerprint

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
  const std::string text = unpack(Text::of_file(source), Packing::gzip, source, watch("unpacking"));
  const std::string_view pieces[] = {text};
  replace_file(destination, pieces);
}

}  // namespace

Split split_from_name(const std::string& name) {
  constexpr std::array<const char*, 4> names{"train", "valid", "test", "all"};
  for (std::size_t i = 0; i < names.size(); ++i)
    if (name == names[i]) return static_cast<Split>(i);
  throw UserError(fmt::format("--split: unknown split '{}': train, valid, test or all", name));
}

std::string fingerprint_of(const Text& text, std::size_t hashed_whole, const Watch& watch) {
  constexpr std::size_t kSamples = 1024, kSample = 64 << 10;
  const std::size_t size = text.size();
  const bool whole = size <= std::max(hashed_whole, kSample);
  const std::size_t pieces = whole ? (size + kSample - 1) / kSample : kSamples;
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  XXH3_64bits_reset(state.get());
  for (std::size_t i = 0; i < pieces; ++i) {
    // The first sample is at the beginning, the last one at the end; samples of a text that is not so long overlap.
    const auto place = static_cast<double>(i) / (kSamples - 1);
    const std::size_t begin =
        whole ? i * kSample : static_cast<std::size_t>(place * static_cast<double>(size - kSample));
    const std::string piece = text.bytes(begin, std::min(kSample, size - begin));
    XXH3_64bits_update(state.get(), piece.data(), piece.size());
    if (watch) watch(static_cast<std::int64_t>(i + 1), static_cast<std::int64_t>(pieces));
  }
  return fmt::format("{} bytes xxh3{}:{:016x}", size, whole ? "" : kOfSamples,
                     XXH3_64bits_digest(state.get()));
}

bool has_fingerprint(const Text& text, const std::string& fingerprint, const Watch& watch) {
  const bool samples = fingerprint.find(kOfSamples) != std::string::npos;
  return fingerprint_of(text, samples ? 0 : text.size(), watch) == fingerprint;
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
  if (options.path.empty() && options.name == "file")
    throw UserError("data.name = \"file\" needs data.path, the text to read");
  const bool prepared = options.path.empty();
  corpus.path_ = prepared ? prepare_corpus(options.name, options.folder) : options.path;
  try {
    TextFiles opened = open_text_files(corpus.path_);
    corpus.text_ = std::move(opened.text);
    corpus.files_ = std::move(opened.files);
  } catch (const UserError& error) {
    throw UserError(fmt::format("{}: {}", prepared ? "data.folder" : "data.path", error.what()));
  }
  // Cut from the end, so that the standard split of enwik8 and text8 (90 / 5 / 5 MB) comes out exactly.
  const std::size_t size = corpus.text_.size();
  const auto part = [size](double fraction) {
    return static_cast<std::size_t>(std::floor(static_cast<double>(size) * fraction));
  };
  corpus.valid_end_ = size - part(options.test_fraction);
  corpus.train_end_ = corpus.valid_end_ - part(options.valid_fraction);
  return corpus;
}

Text Corpus::text(Split split) const {
  switch (split) {
    case Split::train:
      return text_.part(0, train_end_);
    case Split::valid:
      return text_.part(train_end_, valid_end_ - train_end_);
    case Split::test:
      return text_.part(valid_end_, text_.size() - valid_end_);
    case Split::all:
      break;
  }
  return text_;
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
