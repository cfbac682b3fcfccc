#pragma once
// A text as one row of bytes: in memory, in a file that is read where it is asked for, or several of these one behind the
// other. A file is not mapped into memory: one that shrinks meanwhile would end the program (SIGBUS), here it is an error.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace simsmoe::app {

// A cheap handle; copies and parts share the bytes.
class Text {
 public:
  Text() = default;  // no bytes
  explicit Text(std::string bytes);
  // The bytes that the file has now; what is appended later is not seen. `keep_open`: of many files only some can be;
  // another is opened for each reading, and must still be the same file. Throws UserError when it is no regular file.
  static Text of_file(const std::string& path, bool keep_open = true);

  void append(const Text& other);
  std::size_t size() const { return size_; }
  // Fills `out` with the bytes from `begin`. Throws UserError naming the file when they are no longer there.
  void copy(std::size_t begin, std::span<char> out) const;
  std::string bytes() const { return bytes(0, size_); }
  std::string bytes(std::size_t begin, std::size_t count) const;
  Text part(std::size_t begin, std::size_t count) const;

 private:
  class Source;
  class Memory;
  class File;
  struct Piece {
    std::shared_ptr<const Source> source;
    std::size_t offset, size;  // within the source
    std::size_t begin;         // within the text
  };

  explicit Text(std::shared_ptr<const Source> source, std::size_t size);
  void add(Piece piece);

  std::vector<Piece> pieces_;
  std::size_t size_ = 0;
};

}  // namespace simsmoe::app
