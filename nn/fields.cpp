// The visitors of field lists that need neither files nor a terminal.

#include "nn/fields.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>

namespace simsmoe::nn {

namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;  // clang 14 does not deduce it

constexpr std::string_view kAutoText = "auto";

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

bool is_near(std::size_t distance, std::string_view text) {
  return distance <= std::max<std::size_t>(2, text.size() / 3);
}

// ", did you mean 'smoe'?" when one of the choices is near, else nothing.
std::string nearest_choice(const std::string& value, const std::vector<std::string>& choices) {
  if (choices.empty()) return {};
  const auto distance = [&](const std::string& choice) { return edit_distance(value, choice); };
  const std::string& nearest = *std::ranges::min_element(choices, {}, distance);
  return is_near(distance(nearest), value) ? fmt::format(", did you mean '{}'?", nearest) : "";
}

std::vector<std::string> choices_of(const Field& field) {
  if (const auto* choice = std::get_if<Choice>(&field.target))
    return {choice->names.begin(), choice->names.end()};
  return field.texts;
}

bool within(const Limits& limits, double value) {
  return std::isfinite(value) && value >= limits.low && value <= limits.high &&
         !(limits.low_excluded && value == limits.low) && !(limits.high_excluded && value == limits.high);
}

bool ascending_from_1(const Steps& steps) {
  return (steps.empty() || steps.front() >= 1) &&
         std::ranges::adjacent_find(steps, std::greater_equal{}) == steps.end();
}

std::string shown(const FieldValue& value) {
  return std::visit(Overloaded{[](const std::string& text) { return fmt::format("\"{}\"", text); },
                               [](const Steps& steps) { return fmt::format("[{}]", fmt::join(steps, ", ")); },
                               [](const auto& v) { return fmt::format("{}", v); }},
                    value);
}

[[noreturn]] void refuse(const Field& field, std::string_view where, const std::string& got) {
  throw UserError(fmt::format("{}{}: expected {}, got {}", where, field.name, allowed(field), got));
}

FieldValue value_of(const Field& field) {
  return std::visit(
      Overloaded{[](const Choice& choice) { return FieldValue(std::string(choice.names[*choice.value])); },
                 [&](const double* number) {
                   const bool automatic = field.may_be_auto && is_auto(*number);
                   return automatic ? FieldValue(std::string(kAutoText)) : FieldValue(*number);
                 },
                 [](const auto* place) { return FieldValue(*place); }},
      field.target);
}

bool is_zero(const Field& field) {
  return std::visit(
      Overloaded{[](bool* flag) { return !*flag; }, [](double* number) { return *number == 0.0; },
                 [](const auto&) { return false; }},
      field.target);
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

// "1000,1500"; nothing is no step at all.
std::optional<Steps> parse_steps(std::string_view text) {
  Steps steps;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const auto step = parse_number<std::int64_t>(text.substr(0, comma));
    if (!step || comma + 1 == text.size()) return std::nullopt;
    steps.push_back(*step);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return steps;
}

}  // namespace

Field& Field::one_of(std::vector<std::string> allowed) {
  texts = std::move(allowed);
  return *this;
}

Field& Field::formerly(std::string old_name) {
  former = std::move(old_name);
  return *this;
}

Field& Field::turns_off(std::string loss_name) {
  loss = std::move(loss_name);
  return *this;
}

Field& Field::read_if(bool condition, std::string_view why_not) {
  if (!condition && unread.empty()) unread = why_not;
  return *this;
}

Field& Field::automatic() {
  may_be_auto = true;
  return *this;
}

Field& Field::one_or_several() {
  several = true;
  return *this;
}

Field& Field::may_be_absent() {
  optional = true;
  return *this;
}

Field& FieldList::operator()(std::string_view key, FieldTarget target, std::string help, Limits limits) {
  fields_.push_back({.name = fmt::format("{}.{}", section_, key),
                     .target = target,
                     .help = std::move(help),
                     .limits = limits,
                     .unread = section_unread_.empty() ? part_unread_ : section_unread_,
                     .section_unread = !section_unread_.empty()});
  return fields_.back();
}

const Field* FieldList::find(std::string_view name) const {
  const auto found = std::ranges::find(fields_, name, &Field::name);
  return found == fields_.end() ? nullptr : &*found;
}

const Field* FieldList::find_former(std::string_view name) const {
  const auto found = std::ranges::find(fields_, name, &Field::former);
  return found == fields_.end() || name.empty() ? nullptr : &*found;
}

const Field& FieldList::at(const std::string& name) const {
  if (const Field* field = find(name)) return *field;
  throw UserError(fmt::format("unknown key '{}'{}", name, hint(name)));
}

// A key given in the wrong section, or in none, is near as well.
std::string FieldList::hint(const std::string& unknown) const {
  if (const Field* moved = find_former(unknown)) return fmt::format(": it is {} now", moved->name);
  const Field* nearest = nullptr;
  std::size_t best = 0;
  const std::string key = unknown.substr(unknown.find('.') + 1);
  for (const Field& field : fields_) {
    const std::size_t elsewhere = 1 + edit_distance(key, field.key());
    const std::size_t distance = std::min(edit_distance(unknown, field.name), elsewhere);
    if (nearest == nullptr || distance < best) {
      nearest = &field;
      best = distance;
    }
  }
  if (nearest == nullptr || !is_near(best, unknown)) return {};
  return fmt::format(", did you mean '{}'?", nearest->name);
}

std::string allowed(const Field& field) {
  if (const auto choices = choices_of(field); !choices.empty())
    return fmt::format("one of {}", fmt::join(choices, ", "));
  std::string kind = std::visit(
      Overloaded{[](bool*) { return "true or false"; }, [](std::int64_t*) { return "a whole number"; },
                 [&](double*) { return field.may_be_auto ? "auto or a number" : "a number"; },
                 [](Steps*) { return "ascending steps, as 1000,1500"; },
                 [&](const auto&) { return field.several ? "one or more texts, as a,b" : "a text"; }},
      field.target);
  const Limits& limits = field.limits;
  const bool low = std::isfinite(limits.low), high = std::isfinite(limits.high);
  if (low && high)
    return fmt::format("{} in {}{}, {}{}", kind, limits.low_excluded ? '(' : '[', limits.low, limits.high,
                       limits.high_excluded ? ')' : ']');
  if (low) return fmt::format("{} {} {}", kind, limits.low_excluded ? ">" : ">=", limits.low);
  return kind;
}

std::string value_text(const Field& field) {
  return std::visit(Overloaded{[](const std::string& text) { return text; },
                               [](const Steps& steps) { return fmt::format("{}", fmt::join(steps, ",")); },
                               [](const auto& value) { return fmt::format("{}", value); }},
                    value_of(field));
}

void store(const Field& field, const FieldValue& given, std::string_view where) {
  const auto value = [&]([[maybe_unused]] const auto* place) -> const auto& {
    const auto* const right = std::get_if<std::remove_cvref_t<decltype(*place)>>(&given);
    if (right == nullptr) refuse(field, where, shown(given));
    return *right;
  };
  const auto number = [&](double x) {
    if (!within(field.limits, x)) refuse(field, where, shown(given));
  };
  const auto known = [&](const std::string& text, const std::vector<std::string>& choices) {
    const auto found = std::ranges::find(choices, text);
    if (found == choices.end()) refuse(field, where, shown(text) + nearest_choice(text, choices));
    return static_cast<std::size_t>(found - choices.begin());
  };
  std::visit(Overloaded{[&](bool* place) { *place = value(place); },
                        [&](std::int64_t* place) {
                          number(static_cast<double>(value(place)));
                          *place = value(place);
                        },
                        [&](double* place) {
                          const auto* text = std::get_if<std::string>(&given);
                          if (field.may_be_auto && text != nullptr && *text == kAutoText) {
                            *place = kAuto;
                            return;
                          }
                          const auto* whole = std::get_if<std::int64_t>(&given);
                          const double x = whole != nullptr ? static_cast<double>(*whole) : value(place);
                          number(x);
                          *place = x;
                        },
                        [&](std::string* place) {
                          if (!field.texts.empty()) known(value(place), field.texts);
                          *place = value(place);
                        },
                        [&](const Choice& choice) {
                          const std::string& text = value(static_cast<std::string*>(nullptr));
                          *choice.value = static_cast<unsigned char>(known(text, choices_of(field)));
                        },
                        [&](Steps* place) {
                          if (!ascending_from_1(value(place))) refuse(field, where, shown(given));
                          *place = value(place);
                        }},
             field.target);
}

FieldValue parse(const Field& field, const std::string& text, std::string_view where) {
  const auto or_refuse = [&](const auto& parsed) {
    if (!parsed) refuse(field, where, shown(text));
    return FieldValue(*parsed);
  };
  return std::visit(Overloaded{[&](bool*) {
                                 if (text != "true" && text != "false") refuse(field, where, shown(text));
                                 return FieldValue(text == "true");
                               },
                               [&](std::int64_t*) { return or_refuse(parse_number<std::int64_t>(text)); },
                               [&](double*) {
                                 if (field.may_be_auto && text == kAutoText) return FieldValue(text);
                                 return or_refuse(parse_number<double>(text));
                               },
                               [&](Steps*) { return or_refuse(parse_steps(text)); },
                               [&](const auto&) { return FieldValue(text); }},
                    field.target);
}

void check_limits(const FieldList& list) {
  for (const Field& field : list.all()) store(field, value_of(field));
}

std::vector<std::string> idle_options(const FieldList& list, const FieldList& defaults) {
  std::vector<std::string> idle;
  for (const Field& field : list.all()) {
    const Field* const standard = defaults.find(field.name);
    if (!field.unread.empty() && standard != nullptr && value_of(field) != value_of(*standard))
      idle.push_back(fmt::format("{} ({})", field.name, field.unread));
  }
  return idle;
}

std::vector<std::string> losses_off(const FieldList& list) {
  std::vector<std::string> off, seen;
  for (const Field& first : list.all()) {
    if (first.loss.empty() || first.section_unread || std::ranges::find(seen, first.loss) != seen.end())
      continue;
    seen.push_back(first.loss);
    // The loss is on when something reads a field of it and none that is read is 0.
    const Field *zero = nullptr, *unread = nullptr;
    bool read = false;
    for (const Field& field : list.all()) {
      if (field.loss != first.loss || field.section_unread) continue;
      read = read || field.unread.empty();
      if (!field.unread.empty() && unread == nullptr) unread = &field;
      if (field.unread.empty() && zero == nullptr && is_zero(field)) zero = &field;
    }
    if (zero != nullptr)
      off.push_back(fmt::format("{} ({} = {})", zero->loss, zero->name, value_text(*zero)));
    else if (!read)
      off.push_back(fmt::format("{} ({})", unread->loss, unread->unread));
  }
  return off;
}

}  // namespace simsmoe::nn
