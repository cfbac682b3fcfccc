#include "engine/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "engine/check.hpp"

namespace simsmoe {

namespace {

[[noreturn]] void fail(std::string_view action, const std::string& path) {
  const int reason = errno;
  throw UserError(fmt::format("cannot {} {}: {}", action, path, std::strerror(reason)));
}

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void write_and_sync(const std::string& path, std::span<const std::string_view> pieces) {
  ::unlink(path.c_str());  // left by a process that was killed
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file.is_open()) fail("write", path);
  for (const std::string_view piece : pieces)
    if (!write_all(file.number(), piece)) fail("write", path);
  if (::fsync(file.number()) != 0 || !file.close()) fail("write", path);
}

// A rename is on the disk only when its folder is.
void sync_folder(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const Descriptor folder(::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems cannot sync a folder; the new file is in place either way.
  if (folder.is_open()) ::fsync(folder.number());
}

}  // namespace

bool Descriptor::close() { return number_ < 0 || ::close(release()) == 0; }

std::string read_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) fail("read", path);
  return read_to_end(file, path);
}

std::string read_to_end(const Descriptor& file, const std::string& name) {
  struct stat info {};
  if (::fstat(file.number(), &info) != 0) fail("read", name);
  // A size is a hint: a stream has none, and a file may grow or shrink meanwhile. One byte more than it, so that a file
  // that keeps it needs no second buffer to find its end.
  constexpr std::size_t kPiece = 1 << 16;
  std::string bytes(std::max(static_cast<std::size_t>(info.st_size) + 1, kPiece), '\0');
  std::size_t done = 0;
  for (ssize_t n = -1; n != 0;) {
    if (done == bytes.size()) bytes.resize(2 * bytes.size());
    n = ::read(file.number(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno != EINTR) fail("read", name);
    if (n > 0) done += static_cast<std::size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

std::string read_input(const std::string& path) {
  if (path != "-") return read_file(path);
  return read_to_end(Descriptor(::dup(STDIN_FILENO)), "standard input");
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
