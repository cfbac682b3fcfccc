#pragma once
// Reading text that is packed with gzip or xz.

#include <string>

#include "apps/data/text.hpp"
#include "apps/data/text_kind.hpp"
#include "engine/progress.hpp"

namespace simsmoe::app {

// The bytes that were packed, of all members of a file that has several (dictzip, `cat a.gz b.gz`). Throws UserError when
// they are not whole or do not fit into memory; `name` is for the message.
std::string unpack(const Text& packed, Packing packing, const std::string& name, const Watch& watch = {});

}  // namespace simsmoe::app
