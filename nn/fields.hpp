#pragma once
// What an option struct says of its members, once: name, place, meaning, limits, and whether anything reads them. A
// struct names its section of the configuration and lists its members:
//
//   struct XmoeOptions {
//     std::int64_t dim = 0;
//     void fields(nn::FieldList& add) { add("dim", &dim, "width of the space; 0: E / 2", nn::between(0, 65536)); }
//   };
//
// The checks of the library, the configuration file, the command line, --help and the notes at the start of a run are
// visitors of that list. What a single range cannot say is `void check() const`, which throws UserError.

#include <any>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "engine/check.hpp"

namespace simsmoe::nn {

// An enumeration with names has a function enum_names(E) beside it: the names in the order of the enumerators, which
// count from 0 and are stored as unsigned char.
template <class E>
concept NamedEnum = std::is_enum_v<E> && std::is_same_v < std::underlying_type_t<E>,
unsigned char > &&requires(E e) { std::size(enum_names(e)); };

template <NamedEnum E>
inline constexpr auto kNamesOf = enum_names(E{});

template <NamedEnum E>
constexpr std::string_view name_of(E e) {
  return kNamesOf<E>[static_cast<std::size_t>(e)];
}

// An interval; a bound may be excluded. NaN and infinities lie in none.
struct Limits {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_excluded = false;
  bool high_excluded = false;
};

inline Limits at_least(double low) { return {.low = low}; }
inline Limits above(double low) { return {.low = low, .low_excluded = true}; }
inline Limits between(double low, double high) { return {.low = low, .high = high}; }
inline Limits from_to_below(double low, double high) {
  return {.low = low, .high = high, .high_excluded = true};
}
inline Limits above_to(double low, double high) { return {.low = low, .high = high, .low_excluded = true}; }

// A number that something else decides until it is given: a field that is described as automatic. Written as auto.
inline constexpr double kAuto = std::numeric_limits<double>::quiet_NaN();
inline bool is_auto(double value) { return value != value; }

// A member of an enumeration with names.
struct Choice {
  unsigned char* value;
  std::span<const std::string_view> names;
};

// Where a value is kept. Steps are ascending whole numbers.
using Steps = std::vector<std::int64_t>;
using FieldTarget = std::variant<bool*, std::int64_t*, double*, std::string*, Choice, Steps*>;
// A value on its way into a field. A text also names a choice; a whole number also fills a number.
using FieldValue = std::variant<bool, std::int64_t, double, std::string, Steps>;

struct Field {
  std::string name;  // "train.lr"
  FieldTarget target;
  std::string help;
  Limits limits;
  std::vector<std::string> texts = {};  // what a text may be; empty: anything
  std::string former = {};              // what the key was called once
  std::string loss = {};                // the auxiliary loss that is off at 0 or false
  std::string unread = {};              // why nothing reads this field; empty: something does
  bool several = false;                 // a text that may name several things, with commas between
  bool optional = false;                // an empty text is the same as none: nobody gives it on purpose
  bool section_unread = false;          // nor any other of its section
  bool may_be_auto = false;             // of numbers: kAuto is a value

  std::string section() const { return name.substr(0, name.find('.')); }
  std::string key() const { return name.substr(name.find('.') + 1); }

  // To be said behind the description of a field.
  Field& one_of(std::vector<std::string> allowed);
  Field& formerly(std::string old_name);
  Field& turns_off(std::string loss_name);
  Field& read_if(bool condition, std::string_view why_not);
  Field& automatic();
  Field& one_or_several();
  Field& may_be_absent();
};

// Collects the fields of one section after the other. The list points into the structs.
class FieldList {
 public:
  // All fields of `options` under the name of a section. `unread` says why nothing reads them, if so.
  // `more` goes to options.fields(), too.
  template <class T, class... More>
  void section(std::string name, T& options, std::string unread = {}, const More&... more) {
    section_ = std::move(name);
    section_unread_ = std::move(unread);
    options.fields(*this, more...);
  }
  // Those of a struct within a struct, in the same section.
  template <class T, class... More>
  void part(T& options, std::string unread = {}, const More&... more) {
    const std::string outer = std::exchange(part_unread_, std::move(unread));
    options.fields(*this, more...);
    part_unread_ = outer;
  }

  Field& operator()(std::string_view key, FieldTarget target, std::string help, Limits limits = {});
  template <NamedEnum E>
  Field& operator()(std::string_view key, E* target, std::string help) {
    return (*this)(key, Choice{reinterpret_cast<unsigned char*>(target), kNamesOf<E>}, std::move(help));
  }

  const std::vector<Field>& all() const { return fields_; }
  const Field* find(std::string_view name) const;         // nullptr: there is none
  const Field* find_former(std::string_view name) const;  // by what it was called once
  const Field& at(const std::string& name) const;         // throws UserError suggesting the nearest name
  // What to say behind an unknown name: ": it is switch.jitter now", ", did you mean 'train.lr'?"; nothing when none is near.
  std::string hint(const std::string& unknown) const;

 private:
  std::string section_, section_unread_, part_unread_;
  std::vector<Field> fields_;
};

// "one of a, b", "a whole number >= 1", "a number in [0, 1)".
std::string allowed(const Field& field);
// The value as the command line has it: true, 0.5, gelu, 1000,1500.
std::string value_text(const Field& field);
// Throws UserError "WHEREtrain.lr: expected a number > 0, got 0" when the value does not suit the field.
void store(const Field& field, const FieldValue& value, std::string_view where = {});
// The value that a text stands for, by the type of the field. Throws as store() does.
FieldValue parse(const Field& field, const std::string& text, std::string_view where = {});

// Throws UserError naming the first field whose value is outside of its limits.
void check_limits(const FieldList& list);

// The options that differ from those in `defaults` and that nothing reads, each with its reason: "switch.jitter (router
// switch only)".
std::vector<std::string> idle_options(const FieldList& list, const FieldList& defaults);
// The auxiliary losses that are off, each with its reason: "z (moe.z_weight = 0)".
std::vector<std::string> losses_off(const FieldList& list);

// All that a struct says of its values: the limits of its fields, then its check(), if it has one.
template <class T>
void validate(std::string section, T options) {
  FieldList list;
  list.section(std::move(section), options);
  check_limits(list);
  if constexpr (requires { options.check(); }) options.check();
}

// Any option struct, as a value: what holds one need not know its type.
class OptionSet {
 public:
  OptionSet() = default;  // no options
  template <class T>
  explicit OptionSet(T options)
      : value_(std::move(options)),
        list_([](std::any& v, FieldList& add) { std::any_cast<T&>(v).fields(add); }),
        check_([](const std::any& v) {
          if constexpr (requires(const T& t) { t.check(); }) std::any_cast<const T&>(v).check();
        }) {}

  bool empty() const { return !value_.has_value(); }
  void fields(FieldList& add) {
    if (list_ != nullptr) list_(value_, add);
  }
  void check() const {
    if (check_ != nullptr) check_(value_);
  }
  template <class T>
  const T& as() const {
    const T* const value = std::any_cast<T>(&value_);
    SMX_CHECK(value != nullptr, "[options] a set of options was asked for another type");
    return *value;
  }

 private:
  std::any value_;
  void (*list_)(std::any&, FieldList&) = nullptr;
  void (*check_)(const std::any&) = nullptr;
};

}  // namespace simsmoe::nn
