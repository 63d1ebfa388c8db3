#include <phx/adapter/nlohmann.hpp>

#include <phx/phx.hpp>
#include <phx/presence/presence.hpp>
#include <phx/testing/server.hpp>

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
/// Its inner object and its outer object share a key.
struct echoing {
  int x = 0;
  point inner{};
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(echoing, inner, x)
};

/// Can only be written, through nlohmann.
struct written {
  int a = 0;
  friend void to_json(nlohmann::json& tree, written const& w) { tree = {{"a", w.a}}; }
};
enum class colour { red };
NLOHMANN_JSON_SERIALIZE_ENUM(colour, {{colour::red, "red"}})
struct stranger {};
/// nlohmann can convert it, but the specialisation below has precedence.
struct own {
  int x = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(own, x)
};

}  // namespace nlohmann_tests
template <>
struct phx::json_traits<nlohmann_tests::own> {
  static phx::payload write(nlohmann_tests::own const&) { return phx::payload::json(R"({"own":true})"); }
};
namespace nlohmann_tests {

template <class... T>
constexpr bool all_written = (phx::JsonWritable<T> && ...) && (std::is_convertible_v<T, phx::payload> && ...);
template <class... T>
constexpr bool none_written = !(phx::JsonWritable<T> || ...) && !(std::is_convertible_v<T, phx::payload> || ...);
template <class... T>
constexpr bool all_read = (phx::JsonReadable<T> && ...);

static_assert(all_written<nlohmann::json, nlohmann::ordered_json, order, written, std::map<std::string, int>, own>);
static_assert(none_written<std::string, std::string_view, char const*, int, bool, std::nullptr_t, colour, stranger>,
              "text could be JSON or a string to be quoted, and a bare number is no payload of a push");
static_assert(all_read<nlohmann::json, nlohmann::ordered_json, order, colour, int, std::string, std::vector<point>>);
static_assert(!phx::JsonReadable<stranger> && !phx::JsonReadable<written> && !phx::JsonReadable<phx::payload> &&
                  !phx::JsonReadable<own>,
              "nlohmann cannot read it, and that is no hard error");

/// The field that is named if `text` does not convert to T; "converted" if it does.
template <class T>
std::string fault(char const* text) {
  phx::payload const p = phx::payload::json(text);
  REQUIRE(p.valid());
  phx::result<T> const value = p.get<T>();
  return value ? "converted" : value.error().entry;
}

}  // namespace nlohmann_tests
using namespace nlohmann_tests;

TEST_CASE("nlohmann: a payload converts to a json value, and a json value to a payload") {
  phx::payload const p = phx::payload::json(R"({"b":[1,2],"a":"é"})");
  auto const tree = p.get<nlohmann::json>();
  REQUIRE(tree);
  CHECK((*tree)["b"][1] == 2);
  CHECK(phx::to_payload(*tree).raw() == R"({"a":"é","b":[1,2]})");
  CHECK(phx::to_payload(*tree).is_object());
  CHECK_FALSE(phx::to_payload(nlohmann::json(7)).is_object());
}

TEST_CASE("nlohmann: an ordered_json keeps the order of the keys") {
  phx::payload const p = phx::payload::json(R"({"b":1,"a":2})");
  CHECK(phx::to_payload(*p.get<nlohmann::ordered_json>()).raw() == p.raw());
}

TEST_CASE("nlohmann: bytes are not JSON") {
  auto const tree = phx::payload::binary("{}").get<nlohmann::json>();
  REQUIRE_FALSE(tree);
  CHECK(tree.error().code == phx::errc::not_json);
}

TEST_CASE("nlohmann: a discarded json value makes a payload that is not valid") {
  CHECK_FALSE(phx::to_payload(nlohmann::json(nlohmann::json::value_t::discarded)).valid());
}

TEST_CASE("nlohmann: text that is not UTF-8 is not sent") {
  CHECK(phx::to_payload(nlohmann::json("a\xff"
                                       "b"))
            .raw() ==
        "\"a\xEF\xBF\xBD"
        "b\"");
}

TEST_CASE("nlohmann: a struct is read") {
  auto const o = phx::payload::json(R"({"name":"n","count":3,"where":{"x":1,"y":2},"more":0})").get<order>();
  REQUIRE(o);
  CHECK(o->name == "n");
  CHECK(o->count == 3);
  CHECK(o->where.y == 2);
}

namespace {

/// Passes a json value or a struct wherever a payload is accepted.
struct sender {
  phx::presence* tracker;

  phx::join_result join(phx::joining& j, phx::message const& in) {
    if (!in.payload.get<point>()) return phx::join_result::error(nlohmann::json{{"reason", "no point"}});
    (void)j.send("after_join", written{1});
    return phx::join_result::ok(point{1, 2});
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
    ctx.push("told", in.payload);
    return phx::outcome::noreply();
  }
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "push") return ctx.push("pushed", point{3, 4}), phx::outcome::reply(nlohmann::json{{"n", 1}});
    if (in.event == "broadcast") {
      ctx.broadcast("all", nlohmann::json{{"n", 2}});
      return phx::outcome::reply("busy", written{5});
    }
    if (in.event == "later") return ctx.reply()(phx::status::error, written{6}), phx::outcome::noreply();
    auto const ref = tracker->track(ctx, "ann", point{7, 8});
    if (!ref) return phx::outcome::reply("error");
    (void)tracker->update(ctx, "ann", [](phx::payload const& old) {
      return point{old.get<nlohmann::json>().value()["x"], 9};
    });
    auto const list = tracker->list(ctx.topic()).get<nlohmann::json>().value();
    return phx::outcome::reply(nlohmann::json{{"metas", list["ann"]["metas"].size()}});
  }
};

}  // namespace

TEST_CASE("nlohmann: a json value or a struct is accepted wherever a payload is") {
  phx::router app;
  phx::presence presence;
  app.channel("room:*", [&](phx::anonymous const&) { return sender{&presence}; });
  phx::testing::server server(app);
  presence.start(server.endpoint());
  auto c = server.connect().join("room:a", R"({"x":0,"y":0})");
  CHECK(c.joined() == phx::testing::received_reply{"ok", R"({"x":1,"y":2})"});
  CHECK(c.expect_push("told") == R"({"a":1})");
  CHECK(c.call("push") == phx::testing::received_reply{"ok", R"({"n":1})"});
  CHECK(c.expect_push("pushed") == R"({"x":3,"y":4})");
  CHECK(c.call("broadcast") == phx::testing::received_reply{"busy", R"({"a":5})"});
  CHECK(c.expect_broadcast("all") == R"({"n":2})");
  CHECK(c.call("later") == phx::testing::received_reply{"error", R"({"a":6})"});
  CHECK(c.call("track") == phx::testing::received_reply{"ok", R"({"metas":1})"});
  auto const metas = presence.get_by_key("room:a", "ann").get<nlohmann::json>().value()["metas"];
  CHECK(metas[0]["y"] == 9);
  CHECK(server.endpoint().broadcast("room:a", "news", nlohmann::json{{"n", 3}}) == phx::errc::none);
  server.advance(std::chrono::seconds(0));
  CHECK(c.expect_broadcast("news") == R"({"n":3})");
}

TEST_CASE("nlohmann: a specialisation for one type is preferred") { CHECK(phx::payload(own{}).raw() == R"({"own":true})"); }

TEST_CASE("nlohmann: a payload in a braced list, an optional or a container converts from a json value") {
  nlohmann::json const tree{{"n", 1}};
  phx::payload p{tree};
  std::optional<phx::payload> const maybe = tree;
  std::vector<phx::payload> several{tree, point{1, 2}, {}};
  phx::broadcast const b{"t", "e", tree};
  CHECK(p.raw() == R"({"n":1})");
  CHECK(maybe->raw() == p.raw());
  CHECK(several[1].raw() == R"({"x":1,"y":2})");
  CHECK(several[2].raw() == "{}");
  CHECK(b.payload.raw() == p.raw());
  p = point{3, 4};
  CHECK(p.raw() == R"({"x":3,"y":4})");
}

#ifdef __cpp_exceptions  // without exceptions nlohmann aborts if a conversion fails

TEST_CASE("nlohmann: the field at fault is named") {
  CHECK(fault<order>(R"({"name":"n","count":3,"where":{"x":1,"y":2}})") == "converted");
  CHECK(fault<order>(R"({"name":7,"count":3,"where":{"x":1,"y":2}})") == "name");
  CHECK(fault<order>(R"({"name":"n","count":"3","where":{"x":1,"y":2}})") == "count");
  CHECK(fault<order>(R"({"name":"n","count":null,"where":{"x":1,"y":2}})") == "count");
  CHECK(fault<order>(R"({"name":"n","count":3,"where":7})") == "where");
}

TEST_CASE("nlohmann: a missing field is named") {
  CHECK(fault<order>("{}") == "name");
  CHECK(fault<order>(R"({"count":3,"where":{"x":1,"y":2}})") == "name");
  CHECK(fault<order>(R"({"name":"n","where":{"x":1,"y":2}})") == "count");
  CHECK(fault<order>(R"({"name":"n","count":3})") == "where");
}

TEST_CASE("nlohmann: an error in a nested field names its top-level field") {
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

TEST_CASE("nlohmann: no field is named if none is at fault") {
  CHECK(fault<order>("[]").empty());
  CHECK(fault<order>("null").empty());
  CHECK(fault<std::vector<int>>(R"({"a":1})").empty());
}

TEST_CASE("nlohmann: the search for the field at fault terminates") {
  nlohmann::json wide;
  for (int i = 0; i < 1000; ++i) wide["k" + std::to_string(1000 + i)] = i;
  wide["name"] = 7;
  CHECK(fault<optional_fields>(wide.dump().c_str()).empty());
  auto const reason = phx::to_payload(wide).get<optional_fields>();
  REQUIRE_FALSE(reason);
  CHECK(reason.error().code == phx::errc::wrong_shape);
}

#endif
