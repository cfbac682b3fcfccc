#include "apps/folder_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "engine/check.hpp"

namespace simsmoe::app {

FolderLock::FolderLock(const std::string& folder, IfLocked if_locked)
    : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  const int mode = if_locked == IfLocked::wait ? LOCK_EX : LOCK_EX | LOCK_NB;
  // Some file systems know no locks: there it is as if nobody else had one.
  if (::flock(descriptor_, mode) == 0 || errno != EWOULDBLOCK) return;
  ::close(descriptor_);
  throw UserError(fmt::format("another process is writing in {}", folder));
}

FolderLock::~FolderLock() { ::close(descriptor_); }

}  // namespace simsmoe::app
