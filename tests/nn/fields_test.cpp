// The description of options: what is stored, what is refused and how, what is read.

#include "nn/fields.hpp"

#include <doctest/doctest.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>

namespace simsmoe::nn {

namespace {

enum class Colour : unsigned char { red, green };
constexpr auto enum_names(Colour) { return std::to_array<std::string_view>({"red", "green"}); }

struct Inner {
  double depth = 2.0;
  void fields(FieldList& add) { add("depth", &depth, "of the part", above(0)); }
};

struct Example {
  bool flag = false;
  std::int64_t count = 3;
  double share = 0.5;
  double weight = 0.1;
  double limit = kAuto;
  std::string text = "a";
  Colour colour = Colour::green;
  Steps steps = {1, 5};
  Inner inner = {};

  void fields(FieldList& add) {
    add("flag", &flag, "a flag").turns_off("sound");
    add("count", &count, "a number of things", between(1, 9)).formerly("old.number");
    add("share", &share, "a part", from_to_below(0, 1)).read_if(flag, "x.flag = false");
    add("weight", &weight, "of the loss", at_least(0)).turns_off("sound").read_if(flag, "x.flag = false");
    add("limit", &limit, "of the things", at_least(0)).automatic();
    add("text", &text, "a word").one_of({"a", "bee"});
    add("colour", &colour, "of paint");
    add("steps", &steps, "on the way");
    add.part(inner, count == 9 ? "nine is enough" : "");
  }
  void check() const {
    if (count == 7) throw UserError("x.count = 7 is odd");
  }
};

FieldList fields_of(Example& example, const std::string& unread = {}) {
  FieldList list;
  list.section("x", example, unread);
  return list;
}

std::string refusal(const std::string& name, const FieldValue& value) {
  Example example;
  const FieldList list = fields_of(example);
  const Example before = example;
  try {
    store(list.at(name), value, "here: ");
  } catch (const UserError& error) {
    CHECK(value_text(fields_of(example).at(name)) == value_text(list.at(name)));  // as it was
    return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("fields: values of the right kind are stored where they belong") {
  Example e;
  const FieldList list = fields_of(e);
  store(list.at("x.flag"), true);
  store(list.at("x.count"), std::int64_t{9});
  store(list.at("x.share"), 0.25);
  store(list.at("x.weight"), std::int64_t{2});
  store(list.at("x.text"), "bee");
  store(list.at("x.colour"), "red");
  store(list.at("x.steps"), Steps{4});
  store(list.at("x.depth"), 1.5);
  CHECK(e.flag);
  CHECK(e.count == 9);
  CHECK(e.share == 0.25);
  CHECK(e.weight == 2.0);
  CHECK(e.text == "bee");
  CHECK(e.colour == Colour::red);
  CHECK(e.steps == Steps{4});
  CHECK(e.inner.depth == 1.5);
}

TEST_CASE("fields: the text of every value reads back to it") {
  Example e, copy;
  e = {.flag = true,
       .count = 2,
       .share = 1.0 / 3,
       .text = "bee",
       .colour = Colour::red,
       .steps = {},
       .inner = {7.25}};
  const FieldList from = fields_of(e), to = fields_of(copy);
  for (const Field& field : from.all()) store(to.at(field.name), parse(to.at(field.name), value_text(field)));
  for (const Field& field : from.all()) CHECK(value_text(field) == value_text(to.at(field.name)));
  CHECK(copy.share == e.share);
  CHECK(copy.steps.empty());
}

TEST_CASE("fields: a number that may be automatic is so until it is given, and is written as auto") {
  Example e, standard;
  const FieldList list = fields_of(e);
  const Field& limit = list.at("x.limit");
  CHECK(value_text(limit) == "auto");
  CHECK(allowed(limit) == "auto or a number >= 0");
  check_limits(list);
  CHECK(idle_options(list, fields_of(standard)).empty());
  store(limit, parse(limit, "2.5"));
  CHECK(e.limit == 2.5);
  CHECK(value_text(limit) == "2.5");
  store(limit, parse(limit, "auto"));
  CHECK(is_auto(e.limit));
  CHECK(refusal("x.limit", -1.0) == "here: x.limit: expected auto or a number >= 0, got -1");
  CHECK(refusal("x.limit", std::nan("")).ends_with("got nan"));
  CHECK(refusal("x.limit", "none").ends_with("got \"none\""));
  CHECK(refusal("x.weight", "auto") == "here: x.weight: expected a number >= 0, got \"auto\"");
  CHECK_THROWS_AS(parse(list.at("x.weight"), "auto"), UserError);
}

TEST_CASE("fields: what does not suit is refused, with what would, and nothing changes") {
  CHECK(refusal("x.flag", std::int64_t{1}) == "here: x.flag: expected true or false, got 1");
  CHECK(refusal("x.count", std::int64_t{0}) == "here: x.count: expected a whole number in [1, 9], got 0");
  CHECK(refusal("x.count", 2.0) == "here: x.count: expected a whole number in [1, 9], got 2");
  CHECK(refusal("x.share", 1.0) == "here: x.share: expected a number in [0, 1), got 1");
  CHECK(refusal("x.share", -0.1).ends_with("got -0.1"));
  CHECK(refusal("x.share", 0.0).empty());
  CHECK(refusal("x.weight", std::nan("")) == "here: x.weight: expected a number >= 0, got nan");
  CHECK(refusal("x.weight", std::numeric_limits<double>::infinity()).ends_with("got inf"));
  CHECK(refusal("x.depth", 0.0) == "here: x.depth: expected a number > 0, got 0");
  CHECK(refusal("x.text", "be") == "here: x.text: expected one of a, bee, got \"be\", did you mean 'bee'?");
  CHECK(refusal("x.text", true) == "here: x.text: expected one of a, bee, got true");
  CHECK(refusal("x.colour", "greenish") == "here: x.colour: expected one of red, green, got \"greenish\"");
  CHECK(refusal("x.colour", "gren").ends_with("did you mean 'green'?"));
  for (const Steps& bad : {Steps{0}, Steps{3, 3}, Steps{4, 2}})
    CHECK(
        refusal("x.steps", bad).starts_with("here: x.steps: expected ascending steps, as 1000,1500, got ["));
  CHECK(Limits(above_to(0, 1)).low_excluded);
}

TEST_CASE("fields: an unknown name is answered with the nearest, a former one with the present") {
  Example e;
  const FieldList list = fields_of(e);
  CHECK(list.find("x.nothing") == nullptr);
  CHECK(list.hint("x.cuont") == ", did you mean 'x.count'?");
  CHECK(list.hint("colour") == ", did you mean 'x.colour'?");
  CHECK(list.hint("old.number") == ": it is x.count now");
  CHECK(list.hint("something.else.entirely") == "");
  CHECK(list.find_former("old.number") == list.find("x.count"));
  CHECK(list.find_former("") == nullptr);
  CHECK_THROWS_WITH_AS(list.at("x.cuont"), "unknown key 'x.cuont', did you mean 'x.count'?", UserError);
}

TEST_CASE("fields: validate looks at the limits, then at what belongs together") {
  CHECK_NOTHROW(validate("x", Example{}));
  CHECK_THROWS_WITH_AS(validate("x", Example{.count = 12}),
                       "x.count: expected a whole number in [1, 9], got 12", UserError);
  CHECK_THROWS_WITH_AS(validate("x", Example{.text = "c"}),
                       doctest::Contains("x.text: expected one of a, bee"), UserError);
  CHECK_THROWS_WITH_AS(validate("x", Example{.inner = {-1.0}}), "x.depth: expected a number > 0, got -1",
                       UserError);
  CHECK_THROWS_WITH_AS(validate("x", Example{.count = 7}), "x.count = 7 is odd", UserError);
  OptionSet set(Example{.count = 7});
  CHECK_THROWS_WITH_AS(set.check(), "x.count = 7 is odd", UserError);
  CHECK(set.as<Example>().count == 7);
  CHECK(!set.empty());
  CHECK(OptionSet().empty());
  CHECK_THROWS_AS(set.as<Inner>(), Error);
}

TEST_CASE("fields: idle options are those that differ and that nothing reads") {
  Example e, standard;
  const auto idle = [&](const std::string& unread = {}) {
    return fmt::format("{}", fmt::join(idle_options(fields_of(e, unread), fields_of(standard)), ", "));
  };
  CHECK(idle().empty());
  e.share = 0.75;
  e.text = "bee";
  CHECK(idle() == "x.share (x.flag = false)");
  CHECK(idle("no x here") == "x.share (no x here), x.text (no x here)");
  e.flag = true;
  CHECK(idle().empty());
  e.count = 9;
  e.inner.depth = 1.0;
  CHECK(idle() == "x.depth (nine is enough)");
}

TEST_CASE("fields: a loss is off when something turns it off") {
  Example e;
  const auto off = [&](const std::string& unread = {}) {
    return fmt::format("{}", fmt::join(losses_off(fields_of(e, unread)), ", "));
  };
  CHECK(off() == "sound (x.flag = false)");
  CHECK(off("no x here").empty());
  e.flag = true;
  CHECK(off().empty());
  e.weight = 0.0;
  CHECK(off() == "sound (x.weight = 0)");
}

}  // namespace simsmoe::nn
