#pragma once
// What data.path means: one file or several, patterns, standard input; as they are or packed.

#include <string>
#include <vector>

#include "apps/data/text.hpp"

namespace simsmoe::app {

struct TextFiles {
  Text text;                       // the files one behind the other, with nothing between them
  std::vector<std::string> files;  // their names
};

// `paths`: a file, or several with commas between; one that does not exist is a pattern (*, ?, [a-z]; ~ is the home folder)
// and stands for the files that match, in the order of their bytes. A name that exists is never taken apart. "-" is standard
// input; it and other streams are read to their end. gzip and xz are unpacked into memory; a file that seems to be no text
// is taken as it is, with a warning. Throws UserError naming the file.
TextFiles open_text_files(const std::string& paths);

}  // namespace simsmoe::app
