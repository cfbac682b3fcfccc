// See config_io.hpp. Every visitor is a loop over Config::fields().

#include "apps/config_io.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <type_traits>
#include <utility>

#include <toml++/toml.h>

#include "apps/data/utf8.hpp"
#include "engine/check.hpp"
#include "engine/file.hpp"

namespace simsmoe::app {

namespace {

// Levenshtein distance: the fewest insertions, deletions and replacements that turn a into b.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

// ", did you mean 'train.lr'?", or a hint at --help when nothing is near. A key given in the wrong section,
// or in none, is near as well.
std::string suggestion(const std::string& unknown, const FieldList& fields) {
  const Field* nearest = nullptr;
  std::size_t best = 0;
  const std::string key = unknown.substr(unknown.find('.') + 1);
  for (const Field& field : fields.all()) {
    const std::size_t elsewhere = 1 + edit_distance(key, field.key());
    const std::size_t distance = std::min(edit_distance(unknown, field.name), elsewhere);
    if (nearest == nullptr || distance < best) {
      nearest = &field;
      best = distance;
    }
  }
  if (best > std::max<std::size_t>(2, unknown.size() / 3)) return " (train --help lists all keys)";
  return fmt::format(", did you mean '{}'?", nearest->name);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (c == '\n')
      out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out + '"';
}

std::string value_text(const Field& field) {
  if (const auto* flag = std::get_if<bool*>(&field.target)) return **flag ? "true" : "false";
  if (const auto* whole = std::get_if<std::int64_t*>(&field.target)) return fmt::format("{}", **whole);
  if (const auto* number = std::get_if<double*>(&field.target)) return fmt::format("{}", **number);
  return quoted(*std::get<std::string*>(field.target));
}

std::string kind_of(const Field& field) {
  if (std::holds_alternative<bool*>(field.target)) return "true or false";
  if (std::holds_alternative<std::int64_t*>(field.target)) return "a whole number";
  if (std::holds_alternative<double*>(field.target)) return "a number";
  return "a text";
}

// "one of a, b", "a whole number >= 1", "a number in [0, 1)".
std::string allowed(const Field& field) {
  const Limits& limits = field.limits;
  if (!limits.choices.empty()) return fmt::format("one of {}", fmt::join(limits.choices, ", "));
  std::string kind = kind_of(field);
  const bool low = std::isfinite(limits.low), high = std::isfinite(limits.high);
  if (low && high)
    return fmt::format("{} in {}{}, {}{}", kind, limits.low_excluded ? '(' : '[', limits.low, limits.high,
                       limits.high_excluded ? ')' : ']');
  if (low) return fmt::format("{} {} {}", kind, limits.low_excluded ? ">" : ">=", limits.low);
  return kind;
}

[[noreturn]] void refuse(const Field& field, const std::string& where, const std::string& got) {
  throw UserError(fmt::format("{}{}: expected {}, got {}", where, field.name, allowed(field), got));
}

// ", did you mean 'smoe'?" when one of the choices is near, else nothing.
std::string nearest_choice(const std::string& value, const std::vector<std::string>& choices) {
  const auto distance = [&](const std::string& choice) { return edit_distance(value, choice); };
  const std::string& nearest = *std::ranges::min_element(choices, {}, distance);
  if (distance(nearest) > std::max<std::size_t>(2, value.size() / 3)) return {};
  return fmt::format(", did you mean '{}'?", nearest);
}

bool within(const Limits& limits, double value) {
  return std::isfinite(value) && value >= limits.low && value <= limits.high &&
         !(limits.low_excluded && value == limits.low) && !(limits.high_excluded && value == limits.high);
}

// Stores a value of the field's own type after a look at its limits. `where` is "file.toml:3: " or empty.
template <class T>
void store(const Field& field, T value, const std::string& where) {
  if constexpr (std::is_same_v<T, std::string>) {
    // Manifests and checkpoints, which keep the configuration, are UTF-8.
    if (!is_utf8(value)) refuse(field, where, fmt::format("{:?}, which is not UTF-8", value));
    const auto& choices = field.limits.choices;
    if (!choices.empty() && std::ranges::find(choices, value) == choices.end())
      refuse(field, where, quoted(value) + nearest_choice(value, choices));
  } else if constexpr (!std::is_same_v<T, bool>) {
    if (!within(field.limits, static_cast<double>(value))) refuse(field, where, fmt::format("{}", value));
  }
  *std::get<T*>(field.target) = std::move(value);
}

// The node as it would be written, for messages.
std::string shown(const toml::node& node) {
  if (const auto* text = node.as_string()) return quoted(**text);
  if (const auto* whole = node.as_integer()) return fmt::format("{}", **whole);
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", **number);
  if (const auto* flag = node.as_boolean()) return **flag ? "true" : "false";
  return node.is_table() ? "a table" : node.is_array() ? "an array" : "a date or time";
}

void store_node(const Field& field, const toml::node& node, const std::string& where) {
  if (std::holds_alternative<bool*>(field.target) && node.is_boolean())
    store(field, **node.as_boolean(), where);
  else if (std::holds_alternative<std::int64_t*>(field.target) && node.is_integer())
    store(field, **node.as_integer(), where);
  else if (std::holds_alternative<double*>(field.target) && node.is_number())
    store(field, *node.value<double>(), where);
  else if (std::holds_alternative<std::string*>(field.target) && node.is_string())
    store(field, **node.as_string(), where);
  else
    refuse(field, where, shown(node));
}

template <class T>
std::optional<T> parse_number(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

void store_text(const Field& field, const std::string& text) {
  const std::string where = "--";
  if (std::holds_alternative<std::string*>(field.target)) return store(field, text, where);
  if (std::holds_alternative<bool*>(field.target) && (text == "true" || text == "false"))
    return store(field, text == "true", where);
  if (std::holds_alternative<std::int64_t*>(field.target))
    if (const auto whole = parse_number<std::int64_t>(text)) return store(field, *whole, where);
  if (std::holds_alternative<double*>(field.target))
    if (const auto number = parse_number<double>(text)) return store(field, *number, where);
  refuse(field, where, quoted(text));
}

const Field* find_field(const FieldList& fields, const std::string& name) {
  const auto found = std::ranges::find(fields.all(), name, &Field::name);
  return found == fields.all().end() ? nullptr : &*found;
}

std::string place(const std::string& source, const toml::source_region& region) {
  return fmt::format("{}:{}: ", source, region.begin.line);
}

}  // namespace

void read_config(Config& config, std::string_view toml, const std::string& source) {
  toml::table document;
  try {
    document = toml::parse(toml, source);
  } catch (const toml::parse_error& error) {
    throw UserError(fmt::format("{}{}", place(source, error.source()), error.description()));
  }
  const FieldList fields = config.fields();
  for (const auto& [section, content] : document) {
    const std::string section_name(section.str());
    const toml::table* table = content.as_table();
    const bool known = std::ranges::any_of(
        fields.all(), [&](const Field& field) { return field.section() == section_name; });
    if (table == nullptr || (!known && table->empty()))
      throw UserError(fmt::format("{}unknown key '{}'{}", place(source, content.source()), section_name,
                                  suggestion(section_name, fields)));
    for (const auto& [key, node] : *table) {
      const std::string name = section_name + "." + std::string(key.str());
      const std::string where = place(source, node.source());
      const Field* field = find_field(fields, name);
      if (field == nullptr)
        throw UserError(fmt::format("{}unknown key '{}'{}", where, name, suggestion(name, fields)));
      store_node(*field, node, where);
    }
  }
}

void read_config_file(Config& config, const std::string& path) { read_config(config, read_file(path), path); }

std::vector<Override> take_overrides(std::vector<std::string>& arguments) {
  std::vector<Override> overrides;
  std::vector<std::string> rest;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const std::size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    if (!name.starts_with("--") || name.find('.') == std::string::npos) {
      rest.push_back(argument);
    } else if (equals != std::string::npos) {
      overrides.push_back({name.substr(2), argument.substr(equals + 1)});
    } else {
      if (i + 1 == arguments.size()) throw UserError(fmt::format("{} needs a value", name));
      overrides.push_back({name.substr(2), arguments[++i]});
    }
  }
  arguments = std::move(rest);
  return overrides;
}

void apply_overrides(Config& config, const std::vector<Override>& overrides) {
  const FieldList fields = config.fields();
  for (const Override& item : overrides) {
    const Field* field = find_field(fields, item.key);
    if (field == nullptr)
      throw UserError(fmt::format("--{}: unknown key{}", item.key, suggestion(item.key, fields)));
    store_text(*field, item.value);
  }
}

std::string dump_config(const Config& config) {
  Config copy = config;
  std::string text, section;
  const FieldList fields = copy.fields();
  for (const Field& field : fields.all()) {
    if (field.section() != section) {
      text += fmt::format("{}[{}]\n", section.empty() ? "" : "\n", field.section());
      section = field.section();
    }
    text += fmt::format("{} = {}  # {}\n", field.key(), value_text(field), field.help);
  }
  return text;
}

std::string config_help() {
  Config defaults;
  const FieldList fields = defaults.fields();
  std::string text = "Configuration keys, in TOML or as --section.key=value, with their defaults:\n";
  for (const Field& field : fields.all())
    text += fmt::format("  {:<42} {} ({})\n", fmt::format("--{}={}", field.name, value_text(field)),
                        field.help, allowed(field));
  return text;
}

}  // namespace simsmoe::app
