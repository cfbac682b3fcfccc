#pragma once
// Whole files: read at once, or replaced so that a crash at any moment leaves the old or the new one.

#include <span>
#include <string>
#include <string_view>

namespace simsmoe {

// Throws UserError with the path and the system's reason.
std::string read_file(const std::string& path);

// Writes the pieces one after the other to `path + ".tmp"`, syncs it, renames it to `path` and syncs the
// folder. On failure (disk full, no permission) throws UserError, removes the temporary file and leaves what
// was at `path`.
void replace_file(const std::string& path, std::span<const std::string_view> pieces);

}  // namespace simsmoe
