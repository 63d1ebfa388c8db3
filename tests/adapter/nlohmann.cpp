#include <phx/adapter/nlohmann.hpp>

#include <doctest/doctest.h>

#include <map>
#include <vector>

namespace nlohmann_tests {

struct point {
  int x = 0, y = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(point, x, y)
};
struct order {
  std::string name;
  int count = 0;
  point where{};
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(order, name, count, where)
};
struct optional_fields {
  std::string name = "nobody";
  int count = 1;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(optional_fields, name, count)
};
/// Its inner object has a key that the outer one has too.
struct echoing {
  int x = 0;
  point inner{};
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(echoing, inner, x)
};

static_assert(phx::JsonReader<phx::nlohmann_json, order>);
static_assert(phx::JsonReader<phx::nlohmann_json, nlohmann::json>);
struct stranger {};
static_assert(!phx::JsonReader<phx::nlohmann_json, stranger>, "nlohmann cannot read it, and that is no hard error");

/// The field that is named when `text` does not convert to T; "converted" when it does.
template <class T>
std::string fault(char const* text) {
  phx::payload const p = phx::payload::json(text);
  REQUIRE(p.valid());
  std::string field = "untouched";
  return phx::nlohmann_json::read<T>(p, field) ? "converted" : field;
}

}  // namespace nlohmann_tests
using namespace nlohmann_tests;

TEST_CASE("nlohmann: a payload becomes a tree, and a tree a payload") {
  phx::payload const p = phx::payload::json(R"({"b":[1,2],"a":"é"})");
  auto const tree = phx::parse<nlohmann::json>(p);
  REQUIRE(tree);
  CHECK((*tree)["b"][1] == 2);
  CHECK(phx::to_payload(*tree).raw() == R"({"a":"é","b":[1,2]})");
  CHECK(phx::to_payload(*tree).is_object());
  CHECK_FALSE(phx::to_payload(nlohmann::json(7)).is_object());
}

TEST_CASE("nlohmann: an ordered tree keeps the order of the keys") {
  phx::payload const p = phx::payload::json(R"({"b":1,"a":2})");
  CHECK(phx::to_payload(*phx::parse<nlohmann::ordered_json>(p)).raw() == p.raw());
}

TEST_CASE("nlohmann: bytes are no JSON") {
  auto const tree = phx::parse<nlohmann::json>(phx::payload::binary("{}"));
  REQUIRE_FALSE(tree);
  CHECK(tree.error().code == phx::errc::not_json);
}

TEST_CASE("nlohmann: a tree that is none makes a payload that is not valid") {
  CHECK_FALSE(phx::to_payload(nlohmann::json(nlohmann::json::value_t::discarded)).valid());
}

TEST_CASE("nlohmann: text that is not UTF-8 does not leave as such") {
  CHECK(phx::to_payload(nlohmann::json("a\xff" "b")).raw() == "\"a\xEF\xBF\xBD" "b\"");
}

TEST_CASE("nlohmann: a struct is read") {
  auto const o = phx::parse<order>(phx::payload::json(R"({"name":"n","count":3,"where":{"x":1,"y":2},"more":0})"));
  REQUIRE(o);
  CHECK(o->name == "n");
  CHECK(o->count == 3);
  CHECK(o->where.y == 2);
}

#ifdef __cpp_exceptions  // without them nlohmann aborts where a conversion fails

TEST_CASE("nlohmann: the field at fault is named") {
  CHECK(fault<order>(R"({"name":"n","count":3,"where":{"x":1,"y":2}})") == "converted");
  CHECK(fault<order>(R"({"name":7,"count":3,"where":{"x":1,"y":2}})") == "name");
  CHECK(fault<order>(R"({"name":"n","count":"3","where":{"x":1,"y":2}})") == "count");
  CHECK(fault<order>(R"({"name":"n","count":null,"where":{"x":1,"y":2}})") == "count");
  CHECK(fault<order>(R"({"name":"n","count":3,"where":7})") == "where");
}

TEST_CASE("nlohmann: a field that is missing is named") {
  CHECK(fault<order>("{}") == "name");
  CHECK(fault<order>(R"({"count":3,"where":{"x":1,"y":2}})") == "name");
  CHECK(fault<order>(R"({"name":"n","where":{"x":1,"y":2}})") == "count");
  CHECK(fault<order>(R"({"name":"n","count":3})") == "where");
}

TEST_CASE("nlohmann: what is wrong or missing deeper is named by its top-level field") {
  CHECK(fault<order>(R"({"name":"n","count":3,"where":{"x":1}})") == "where");
  CHECK(fault<order>(R"({"name":"n","count":3,"where":{"x":1},"y":5})") == "where");
  CHECK(fault<order>(R"({"name":"n","count":3,"where":{"x":1,"y":[]}})") == "where");
  CHECK(fault<echoing>(R"({"x":1,"inner":{"y":1}})") == "inner");
}

TEST_CASE("nlohmann: an optional field that does not convert is named") {
  CHECK(fault<optional_fields>("{}") == "converted");
  CHECK(fault<optional_fields>(R"({"name":7})") == "name");
  CHECK(fault<optional_fields>(R"({"name":"n","count":{}})") == "count");
}

TEST_CASE("nlohmann: no field is named where none is to blame") {
  CHECK(fault<order>("[]").empty());
  CHECK(fault<order>("null").empty());
  CHECK(fault<std::vector<int>>(R"({"a":1})").empty());
}

TEST_CASE("nlohmann: looking for the field at fault has an end") {
  nlohmann::json wide;
  for (int i = 0; i < 1000; ++i) wide["k" + std::to_string(1000 + i)] = i;
  wide["name"] = 7;
  CHECK(fault<optional_fields>(wide.dump().c_str()).empty());
  auto const why = phx::parse<optional_fields>(phx::to_payload(wide));
  REQUIRE_FALSE(why);
  CHECK(why.error().code == phx::errc::wrong_shape);
}

#endif
