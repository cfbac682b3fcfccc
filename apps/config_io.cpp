// Every visitor is a loop over Config::fields().

#include "apps/config_io.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include <toml++/toml.h>

#include "apps/data/text_kind.hpp"
#include "engine/check.hpp"
#include "engine/file.hpp"
#include "engine/utf8.hpp"

namespace simsmoe::app {

using nn::Field;
using nn::FieldList;
using nn::FieldValue;

namespace {

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

// The value in TOML.
std::string toml_text(const Field& field) {
  const std::string text = nn::value_text(field);
  if (std::holds_alternative<nn::Steps*>(field.target)) return fmt::format("[{}]", text);
  const auto* const number = std::get_if<double*>(&field.target);
  const bool is_text = std::holds_alternative<std::string*>(field.target) ||
                       std::holds_alternative<nn::Choice>(field.target) ||
                       (number != nullptr && field.may_be_auto && nn::is_auto(**number));
  return is_text ? quoted(text) : text;
}

// Manifests and checkpoints, which keep the configuration, are UTF-8.
void check_utf8(const Field& field, const std::string& text, const std::string& where) {
  if (!is_utf8(text))
    throw UserError(fmt::format("{}{}: expected {}, got {:?}, which is not UTF-8", where, field.name,
                                allowed(field), text));
}

std::string shown(const toml::node& node) {
  return node.is_table() ? "a table" : node.is_array() ? "an array" : "a date or time";
}

std::optional<nn::Steps> steps_in(const toml::array& array) {
  nn::Steps steps;
  for (const toml::node& entry : array) {
    if (!entry.is_integer()) return std::nullopt;
    steps.push_back(**entry.as_integer());
  }
  return steps;
}

// The texts of an array with commas between, as on the command line. `where`: for the message.
std::optional<std::string> texts_in(const toml::array& array, const std::string& where) {
  std::string all;
  for (const toml::node& entry : array) {
    if (!entry.is_string()) return std::nullopt;
    if (array.size() > 1 && (*entry.as_string())->find(',') != std::string::npos)
      throw UserError(fmt::format("{}{:?} has a comma, which separates texts: a ? in its place matches it",
                                  where, **entry.as_string()));
    all += (all.empty() ? "" : ",") + **entry.as_string();
  }
  return all;
}

void store_node(const Field& field, const toml::node& node, const std::string& where) {
  if (const auto* flag = node.as_boolean()) return nn::store(field, **flag, where);
  if (const auto* whole = node.as_integer()) return nn::store(field, std::int64_t{**whole}, where);
  if (const auto* number = node.as_floating_point()) return nn::store(field, **number, where);
  if (const auto* text = node.as_string()) {
    check_utf8(field, **text, where);
    // Steps may be written as they are on the command line.
    const bool steps = std::holds_alternative<nn::Steps*>(field.target);
    return nn::store(field, steps ? nn::parse(field, **text, where) : FieldValue(**text), where);
  }
  if (const auto* array = node.as_array()) {
    if (const auto steps = steps_in(*array)) return nn::store(field, *steps, where);
    if (const auto texts = texts_in(*array, where + field.name + ": "); texts && field.several) {
      check_utf8(field, *texts, where);
      return nn::store(field, *texts, where);
    }
  }
  throw UserError(fmt::format("{}{}: expected {}, got {}", where, field.name, allowed(field), shown(node)));
}

std::string place(const std::string& source, const toml::source_region& region) {
  return fmt::format("{}:{}: ", source, region.begin.line);
}

std::string hint_for(const FieldList& fields, const std::string& unknown) {
  const std::string hint = fields.hint(unknown);
  return hint.empty() ? " (train --help lists all keys)" : hint;
}

}  // namespace

std::size_t read_config(Config& config, std::string_view toml, const std::string& source,
                        FormerNames former) {
  toml::table document;
  try {
    document = toml::parse(toml, source);
  } catch (const toml::parse_error& error) {
    throw UserError(fmt::format("{}{}", place(source, error.source()), error.description()));
  }
  const FieldList fields = config.fields();
  const auto unknown = [&](const std::string& name, const toml::node& node) {
    throw UserError(
        fmt::format("{}unknown key '{}'{}", place(source, node.source()), name, hint_for(fields, name)));
  };
  std::size_t keys = 0;
  for (const auto& [section, content] : document) {
    const std::string section_name(section.str());
    const toml::table* table = content.as_table();
    const bool known = std::ranges::any_of(
        fields.all(), [&](const Field& field) { return field.section() == section_name; });
    if (table == nullptr || (!known && table->empty())) unknown(section_name, content);
    for (const auto& [key, node] : *table) {
      const std::string name = section_name + "." + std::string(key.str());
      const Field* field = fields.find(name);
      if (field == nullptr && former == FormerNames::accept) field = fields.find_former(name);
      if (field == nullptr) unknown(name, node);
      store_node(*field, node, place(source, node.source()));
      ++keys;
    }
  }
  const auto gives = [&](std::string_view key) { return !!document["data"][key]; };
  config.data.settle(gives("name"), gives("path"));
  return keys;
}

void read_config_file(Config& config, const std::string& path) {
  const std::string source = path == "-" ? "standard input" : path;
  if (std::filesystem::is_directory(path))
    throw UserError(fmt::format(
        "{} is a folder: expected a configuration file; train --resume goes on with a run, and train --init "
        "begins with its parameters",
        path));
  const std::string text = read_input(path);
  if (const TextKind kind = kind_of(std::string_view(text).substr(0, kTellingBytes)); !kind.name.empty())
    throw UserError(fmt::format("{} is {}: expected a configuration file in TOML{}{}", source, kind.name,
                                kind.advice.empty() ? "" : "; ", kind.advice));
  if (read_config(config, text, source) == 0)
    throw UserError(fmt::format("{} sets no key; to train with the defaults, leave it out", source));
}

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
    const Field* field = fields.find(item.key);
    if (field == nullptr)
      throw UserError(fmt::format("--{}: unknown key{}", item.key, hint_for(fields, item.key)));
    const std::string where = "--";
    if (field->optional && item.value.empty())
      throw UserError(fmt::format("{}{} is empty: leave it out where it is not meant", where, field->name));
    check_utf8(*field, item.value, where);
    nn::store(*field, nn::parse(*field, item.value, where), where);
  }
  const auto gives = [&](std::string_view key) {
    return std::ranges::find(overrides, key, &Override::key) != overrides.end();
  };
  config.data.settle(gives("data.name"), gives("data.path"));
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
    text += fmt::format("{} = {}  # {}\n", field.key(), toml_text(field), field.help);
  }
  return text;
}

std::string config_help() {
  Config defaults;
  const FieldList fields = defaults.fields();
  std::string text = "Configuration keys, in TOML or as --section.key=value, with their defaults:\n";
  for (const Field& field : fields.all())
    text += fmt::format("  {:<42} {} ({})\n", fmt::format("--{}={}", field.name, toml_text(field)),
                        field.help, allowed(field));
  return text;
}

}  // namespace simsmoe::app
