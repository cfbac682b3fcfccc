#pragma once
// Whole files: read to their end, or replaced so that a crash at any moment leaves the old or the new one.

#include <span>
#include <string>
#include <string_view>

namespace simsmoe {

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
  ~Descriptor() { close(); }
  Descriptor& operator=(Descriptor&& other) noexcept {
    close();
    number_ = other.release();
    return *this;
  }

  bool is_open() const { return number_ >= 0; }
  int number() const { return number_; }
  bool
  close();  // false when the system reports an error, as some file systems do for writes that came before

 private:
  int release() {
    const int number = number_;
    number_ = -1;
    return number;
  }
  int number_;
};

// All bytes of a file, or of a stream (a pipe, a terminal) up to its end. Throws UserError with the path and the system's
// reason.
std::string read_file(const std::string& path);
// The same from an open descriptor, from where it stands; `name` is for the message.
std::string read_to_end(const Descriptor& file, const std::string& name);
// read_file(), where "-" is standard input.
std::string read_input(const std::string& path);

// Writes the pieces one after the other to the new file `path + ".tmp"`, syncs it, renames it to `path` and syncs the
// folder. What had the temporary name is removed, but never written through, should it be a link. On failure (disk full,
// no permission) throws UserError, removes the temporary file and leaves what was at `path`.
void replace_file(const std::string& path, std::span<const std::string_view> pieces);

}  // namespace simsmoe
