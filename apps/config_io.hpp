#pragma once
// The visitors of the configuration's field list: read TOML, override from the command line, explain, write
// down. Errors are UserErrors of one sentence that name the key, where it stands, and what is allowed; an
// unknown key is answered with the nearest known one.

#include <string>
#include <string_view>
#include <vector>

#include "apps/config.hpp"

namespace simsmoe::app {

// Whether a key may have the name that it had once. A checkpoint of an older program has; a person is told the new one.
enum class FormerNames : unsigned char { refuse, accept };

// Sets what `toml` mentions, leaves the rest, and returns how many keys it set. `source` is the file's name for messages
// ("x.toml:3: ...").
std::size_t read_config(Config& config, std::string_view toml, const std::string& source,
                        FormerNames former = FormerNames::refuse);
// The same from a file, or standard input ("-"), which must set a key: an empty one is a mistake.
void read_config_file(Config& config, const std::string& path);

// One --section.key=value of the command line.
struct Override {
  std::string key;
  std::string value;
};

// Removes "--section.key=value" and "--section.key value" from the arguments and returns them in order. An
// option is an override when its name contains a dot; no other option of the program does.
std::vector<Override> take_overrides(std::vector<std::string>& arguments);
// Sets what they say. An empty value is refused where it would be the same as none (--data.path="$UNSET").
void apply_overrides(Config& config, const std::vector<Override>& overrides);

// All keys with their values and meaning, as TOML that reads back to the same configuration, exactly.
std::string dump_config(const Config& config);
// All keys with their defaults, meaning and range, for --help.
std::string config_help();

}  // namespace simsmoe::app
