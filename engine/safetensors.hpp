#pragma once
// Named tensors in a file: the safetensors format (8 bytes of header length, a JSON header, the data). The
// reader treats the file as hostile: every offset, size, name and number is checked before memory is touched.

#include <map>
#include <string>
#include <vector>

#include "engine/tensor.hpp"

namespace simsmoe {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

struct TensorFile {
  std::vector<NamedTensor> tensors;             // in the order of the data
  std::map<std::string, std::string> metadata;  // "__metadata__"

  const Tensor* find(std::string_view name) const;  // nullptr when absent
  const Tensor& at(std::string_view name) const;    // throws Error naming what is missing
};

// Reads a whole file to the CPU. Throws UserError with the path and one sentence: missing, truncated, header
// too long, bad JSON or UTF-8, duplicate names, unknown dtype, offsets that overlap, leave holes, overflow or
// do not match the shape, checksum that does not match. A file of ours carries metadata "checksum" over
// header and data; a file without one (from elsewhere) is accepted unless `require_checksum`.
TensorFile read_safetensors(const std::string& path, bool require_checksum = false);
// The same from memory; `source` names it in errors. What the fuzz target calls.
TensorFile parse_safetensors(std::string_view bytes, const std::string& source,
                             bool require_checksum = false);

// Whether a file with these bytes, or this beginning, is one, if perhaps a damaged one.
bool may_be_safetensors(std::string_view bytes);

// Writes to `path + ".tmp"`, syncs, renames, syncs the folder: after a crash at any moment the old or the new
// file is whole. Adds the checksum. Throws Error (disk full, no permission) and removes the temporary file;
// the old file stays.
void write_safetensors(const std::string& path, const TensorFile& file);

}  // namespace simsmoe
