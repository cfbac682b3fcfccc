// Where the bytes of a text come from.

#include "apps/data/text.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/check.hpp"
#include "engine/file.hpp"

namespace simsmoe::app {

class Text::Source {
 public:
  Source() = default;
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual void read(std::size_t offset, std::span<char> out) const = 0;
};

class Text::Memory final : public Source {
 public:
  explicit Memory(std::string bytes) : bytes_(std::move(bytes)) {}
  void read(std::size_t offset, std::span<char> out) const override {
    std::copy_n(bytes_.data() + offset, out.size(), out.data());
  }

 private:
  std::string bytes_;
};

class Text::File final : public Source {
 public:
  File(std::string path, bool keep_open) : path_(std::move(path)), file_(open()), then_(status(file_)) {
    if (!S_ISREG(then_.st_mode)) throw UserError(fmt::format("{} is not a file", path_));
    if (!keep_open) file_.close();
  }

  std::size_t size() const { return static_cast<std::size_t>(then_.st_size); }

  void read(std::size_t offset, std::span<char> out) const override {
    Descriptor again;
    if (!file_.is_open()) {
      again = open();
      const struct stat now = status(again);
      if (now.st_dev != then_.st_dev || now.st_ino != then_.st_ino)
        throw UserError(fmt::format("{} was replaced by another file while it was in use", path_));
    }
    const int file = file_.is_open() ? file_.number() : again.number();
    while (!out.empty()) {
      const ssize_t n = ::pread(file, out.data(), out.size(), static_cast<off_t>(offset));
      if (n == 0)
        throw UserError(fmt::format("{} became shorter while it was in use: it had {} bytes", path_, size()));
      if (n < 0 && errno != EINTR) fail();
      if (n < 0) continue;
      offset += static_cast<std::size_t>(n);
      out = out.subspan(static_cast<std::size_t>(n));
    }
  }

 private:
  [[noreturn]] void fail() const {
    throw UserError(fmt::format("cannot read {}: {}", path_, std::strerror(errno)));
  }
  Descriptor open() const {
    Descriptor file(::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));  // no waiting for a pipe
    if (!file.is_open()) fail();
    return file;
  }
  struct stat status(const Descriptor& file) const {
    struct stat status {};
    if (::fstat(file.number(), &status) != 0) fail();
    return status;
  }

  std::string path_;
  Descriptor file_;  // closed: opened for each reading
  struct stat then_;
};

Text::Text(std::shared_ptr<const Source> source, std::size_t size) { add({std::move(source), 0, size, 0}); }

Text::Text(std::string bytes) {
  const std::size_t size = bytes.size();
  add({std::make_shared<const Memory>(std::move(bytes)), 0, size, 0});
}

Text Text::of_file(const std::string& path, bool keep_open) {
  auto file = std::make_shared<const File>(path, keep_open);
  const std::size_t size = file->size();
  return Text(std::move(file), size);
}

void Text::add(Piece piece) {
  if (piece.size == 0) return;
  piece.begin = size_;
  size_ += piece.size;
  pieces_.push_back(std::move(piece));
}

void Text::append(const Text& other) {
  for (const Piece& piece : std::vector(other.pieces_)) add(piece);
}

void Text::copy(std::size_t begin, std::span<char> out) const {
  SMX_CHECK(begin <= size_ && out.size() <= size_ - begin, "[text] {} bytes from {} on, of {}", out.size(),
            begin, size_);
  if (out.empty()) return;
  // The last piece that begins at or before `begin`.
  auto piece = std::ranges::upper_bound(pieces_, begin, {}, &Piece::begin) - 1;
  for (; !out.empty(); ++piece) {
    const std::size_t skipped = begin - piece->begin, count = std::min(out.size(), piece->size - skipped);
    piece->source->read(piece->offset + skipped, out.first(count));
    begin += count;
    out = out.subspan(count);
  }
}

std::string Text::bytes(std::size_t begin, std::size_t count) const {
  std::string bytes(count, '\0');
  copy(begin, bytes);
  return bytes;
}

Text Text::part(std::size_t begin, std::size_t count) const {
  SMX_CHECK(begin <= size_ && count <= size_ - begin, "[text] part of {} bytes from {} on, of {}", count,
            begin, size_);
  Text part;
  for (const Piece& piece : pieces_) {
    const std::size_t from = std::max(begin, piece.begin);
    const std::size_t to = std::min(begin + count, piece.begin + piece.size);
    if (from < to) part.add({piece.source, piece.offset + (from - piece.begin), to - from, 0});
  }
  return part;
}

}  // namespace simsmoe::app
