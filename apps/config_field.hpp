#pragma once
// A configuration value as the visitors of config_io see it: its dotted name, where it is kept, what it means
// and what it may be. A config struct describes each of its members once, in fields(); reading TOML,
// overriding on the command line, --help and the resolved dump all follow from that one list.

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace simsmoe::app {

// The allowed values: an interval (a bound may be excluded) for numbers, a list for strings.
struct Limits {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_excluded = false;
  bool high_excluded = false;
  std::vector<std::string> choices = {};
};

inline Limits at_least(double low) { return {.low = low}; }
inline Limits above(double low) { return {.low = low, .low_excluded = true}; }
inline Limits between(double low, double high) { return {.low = low, .high = high}; }
inline Limits from_to_below(double low, double high) {
  return {.low = low, .high = high, .high_excluded = true};
}
inline Limits one_of(std::vector<std::string> choices) { return {.choices = std::move(choices)}; }

using FieldTarget = std::variant<bool*, std::int64_t*, double*, std::string*>;

struct Field {
  std::string name;  // "train.lr"
  FieldTarget target;
  std::string help;
  Limits limits;

  std::string section() const { return name.substr(0, name.find('.')); }
  std::string key() const { return name.substr(name.find('.') + 1); }
};

// Collects the fields of one section after the other.
class FieldList {
 public:
  // Adds all of `config`'s fields under the section's name.
  template <class C>
  void section(std::string name, C& config) {
    section_ = std::move(name);
    config.fields(*this);
  }
  void operator()(const std::string& key, FieldTarget target, std::string help, Limits limits = {}) {
    fields_.push_back({section_ + "." + key, target, std::move(help), std::move(limits)});
  }
  const std::vector<Field>& all() const { return fields_; }

 private:
  std::string section_;
  std::vector<Field> fields_;
};

}  // namespace simsmoe::app
