#include "engine/shape.hpp"

#include "tests/engine/support.hpp"

using namespace simsmoe;
using testing::contains;
using testing::message_of;

TEST_CASE("shape: sizes, products and axes") {
  const Shape s{2, 3, 4};
  CHECK(s.rank() == 3);
  CHECK(s.numel() == 24);
  CHECK(s[0] == 2);
  CHECK(s[-1] == 4);
  CHECK(s.outer(1) == 2);
  CHECK(s.inner(1) == 4);
  CHECK(s.outer(0) == 1);
  CHECK(s.inner(-1) == 1);
  CHECK(s.normal_axis(-3) == 0);
  CHECK(s.to_string() == "[2, 3, 4]");
  CHECK(fmt::format("{}", Shape{}) == "[]");
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{5, 0}.numel() == 0);
}

TEST_CASE("shape: copies with one axis changed") {
  const Shape s{2, 3, 4};
  CHECK(s.with(-1, 7) == Shape{2, 3, 7});
  CHECK(s.without(0) == Shape{3, 4});
  CHECK(s.without(-1) == Shape{2, 3});
  CHECK(Shape{9}.without(0) == Shape{});
  CHECK(s.append(5) == Shape{2, 3, 4, 5});
  CHECK(Shape{}.append(1) == Shape{1});
  CHECK(Shape{2, 3} != Shape{2, 3, 0});
  // the entry that falls out must not take part in comparisons
  CHECK(Shape{1, 2, 3, 4, 5, 6}.without(5) == Shape{1, 2, 3, 4, 5});
}

TEST_CASE("shape: what cannot be is refused") {
  CHECK(contains(message_of([] { Shape{1, -2}; }), "negative"));
  CHECK(contains(message_of([] { Shape({1, 1, 1, 1, 1, 1, 1}); }), "at most 6 axes, got 7"));
  CHECK(contains(message_of([] { Shape{std::int64_t{1} << 32, std::int64_t{1} << 31}; }), "overflows"));
  CHECK(contains(message_of([] { Shape{0, std::int64_t{1} << 62, 4}; }), "overflows"));
  const Shape s{2, 3, 4}, full{1, 1, 1, 1, 1, 1};
  CHECK(message_of([&] { s[3]; }) == "[shape] axis 3 is outside of [2, 3, 4]");
  CHECK_THROWS_AS(s[-4], Error);
  CHECK_THROWS_AS(Shape{}[0], Error);
  CHECK_THROWS_AS(Shape{}.without(0), Error);
  CHECK_THROWS_AS(s.with(3, 1), Error);
  CHECK_THROWS_AS(s.with(0, -1), Error);
  CHECK_THROWS_AS(s.append(-1), Error);
  CHECK(message_of([&] { full.append(1); }) == "[shape] cannot append an axis to [1, 1, 1, 1, 1, 1]");
}
