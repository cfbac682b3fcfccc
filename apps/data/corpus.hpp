#pragma once
// A text, cut into training, validation and test parts by position.

#include <string>
#include <vector>

#include "apps/data/text.hpp"
#include "engine/progress.hpp"

namespace simsmoe::app {

enum class Split : unsigned char { train, valid, test, all };
Split split_from_name(const std::string& name);  // throws UserError naming the choices

// "39952321 bytes xxh3:0123...". Of a text beyond kHashedWhole only samples, spread evenly, are read, so that a huge one
// begins at once: "... bytes xxh3 of samples:0123...". `watch` is told of pieces.
inline constexpr std::size_t kHashedWhole = std::size_t{256} << 20;
std::string fingerprint_of(const Text& text, std::size_t hashed_whole = kHashedWhole,
                           const Watch& watch = {});
// Whether `text` has the fingerprint, of whichever form it is.
bool has_fingerprint(const Text& text, const std::string& fingerprint, const Watch& watch = {});

struct CorpusOptions {
  std::string name = "gcide";    // gcide, enwik8, text8, or file (any text: `path` says which)
  std::string path = {};         // overrides where the text lies: text_files.hpp
  std::string folder = "data";   // where prepared texts are kept
  double valid_fraction = 0.05;  // of the bytes, before the test part
  double test_fraction = 0.05;   // of the bytes, at the end
};

class Corpus {
 public:
  // Opens a text, preparing it first when that needs no download (gcide). Throws UserError: unknown name,
  // missing file (with the way to get it, or the key that names it), empty text.
  static Corpus open(const CorpusOptions& options);

  const std::string& name() const { return name_; }
  const std::string& path() const { return path_; }  // as it was given
  const std::vector<std::string>& files() const { return files_; }
  Text text(Split split) const;

 private:
  std::string name_, path_;
  std::vector<std::string> files_;
  Text text_;
  std::size_t train_end_ = 0, valid_end_ = 0;
};

// What `data list` shows: one row per text that is known by name.
struct KnownCorpus {
  std::string name, description, licence, source;
  std::string path;         // where it is looked for
  bool present = false;     // there already
  bool preparable = false;  // `data prepare` can make it here and now
};
std::vector<KnownCorpus> known_corpora(const std::string& folder);

// Makes the text of that name in `folder` and returns its path; does nothing when it is there. Throws
// UserError when it cannot be made here, saying what to install or where to get it.
std::string prepare_corpus(const std::string& name, const std::string& folder);

}  // namespace simsmoe::app
