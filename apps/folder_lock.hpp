#pragma once
// One process at a time in a folder. The lock ends with its process, however that ends.

#include <string>

namespace simsmoe::app {

enum class IfLocked : unsigned char { wait, refuse };

class FolderLock {
 public:
  // Throws UserError when another process has the lock and it is not to be waited for.
  FolderLock(const std::string& folder, IfLocked if_locked);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace simsmoe::app
