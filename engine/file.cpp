#include "engine/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "engine/check.hpp"

namespace simsmoe {

namespace {

[[noreturn]] void fail(std::string_view action, const std::string& path) {
  const int reason = errno;
  throw UserError(fmt::format("cannot {} {}: {}", action, path, std::strerror(reason)));
}

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }
  bool close() { return ::close(std::exchange(number_, -1)) == 0; }  // some file systems report errors here

 private:
  int number_;
};

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void write_and_sync(const std::string& path, std::span<const std::string_view> pieces) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.number() < 0) fail("write", path);
  for (const std::string_view piece : pieces)
    if (!write_all(file.number(), piece)) fail("write", path);
  if (::fsync(file.number()) != 0 || !file.close()) fail("write", path);
}

// A rename is on the disk only when its folder is.
void sync_folder(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const Descriptor folder(::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems cannot sync a folder; the new file is in place either way.
  if (folder.number() >= 0) ::fsync(folder.number());
}

}  // namespace

std::string read_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (file.number() < 0 || ::fstat(file.number(), &info) != 0) fail("read", path);
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::read(file.number(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno != EINTR) fail("read", path);
    if (n == 0) break;  // became shorter meanwhile
    if (n > 0) done += static_cast<std::size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

void replace_file(const std::string& path, std::span<const std::string_view> pieces) {
  const std::string temporary = path + ".tmp";
  try {
    write_and_sync(temporary, pieces);
    if (std::rename(temporary.c_str(), path.c_str()) != 0) fail("write", path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(path);
}

}  // namespace simsmoe
