#include <phx/channel/channel.hpp>

#include <support/room.hpp>

using support::texts;
using namespace std::chrono_literals;

// The misspelt callbacks that are detected are in tests/archetype/near_miss.

namespace {

struct number {
  int n;
};

}  // namespace

/// A JSON library for one type: `{"n":INTEGER}`.
template <>
struct phx::json_traits<number> {
  static phx::result<number> read(phx::payload const& p) {
    static constexpr std::string_view start = R"({"n":)";
    std::string_view const text = p.raw();
    if (!p.is_binary() && text.starts_with(start) && text.size() > start.size() + 1 && text[start.size()] != '"')
      return number{std::stoi(std::string(text.substr(start.size())))};
    return phx::error{phx::errc::wrong_shape, text == "{\"quote\":1}" ? "a \"quoted\"\n\\field" : "n"};
  }
};

namespace {

struct calculator {
  int sum = 0, all = 0;

  phx::outcome add(phx::context&, number const& by) {
    sum += by.n;
    return phx::outcome::reply(phx::payload::json(std::to_string(sum)));
  }
  phx::outcome subtract(phx::context&, number by) {
    sum -= by.n;
    return phx::outcome::reply(phx::payload::json(std::to_string(sum)));
  }
  phx::outcome clear(phx::context&) noexcept {
    sum = 0;
    return phx::outcome::reply();
  }
  phx::outcome whole(phx::context&, phx::message const& in) { return phx::outcome::reply(phx::payload::json(in.ref.json)); }
  phx::outcome data(phx::context&, phx::payload const& p) { return phx::outcome::reply(p); }
  static constexpr auto events = phx::events(phx::on<&calculator::add>("add"), phx::on<&calculator::subtract>("subtract"),
                                             phx::on<&calculator::clear>("clear"), phx::on<&calculator::whole>("whole"),
                                             phx::on<&calculator::data>("data"), phx::on<&calculator::clear>("add"));
};
/// The same, with a handle_in for all other events.
struct open_calculator : calculator {
  phx::outcome handle_in(phx::context&, phx::message const&) { return phx::outcome::reply("other"); }
};
struct silent {
  phx::outcome handle_info(phx::context&, phx::message const&) { return phx::outcome::noreply(); }
};

struct lesson {
  phx::router<> r{};
  phx::testing::server<phx::router<>> s{r};
  lesson() { r.channel<calculator>("calc").channel<open_calculator>("open").channel<silent>("silent"); }
};

}  // namespace

TEST_CASE("channel: an event bound to a member function gets its parameter from the payload") {
  lesson l;
  auto c = l.s.connect().join("calc");
  CHECK(c.call("add", R"({"n":5})") == phx::testing::received_reply{"ok", "5"});
  CHECK(c.call("add", R"({"n":7})") == phx::testing::received_reply{"ok", "12"});
  CHECK(c.call("subtract", R"({"n":2})") == phx::testing::received_reply{"ok", "10"});
  CHECK(c.call("clear") == phx::testing::received_reply{"ok", "{}"});
  CHECK(c.call("whole")->response == "\"" + std::to_string(6) + "\"");
  CHECK(c.call("data", "[1]") == phx::testing::received_reply{"ok", "[1]"});
}

TEST_CASE("channel: a payload that does not convert is answered with the field's name, and the channel continues") {
  lesson l;
  auto c = l.s.connect().join("calc");
  CHECK(c.call("add", R"({"n":"five"})") ==
        phx::testing::received_reply{"error", R"({"reason":"invalid payload","field":"n"})"});
  CHECK(c.call("add", R"({"quote":1})")->response == R"({"reason":"invalid payload","field":"a \"quoted\"\n\\field"})");
  CHECK(c.expect_reply(c.push_bytes("add", "\x01"))->status == "error");
  CHECK(c.call("add", R"({"n":1})") == phx::testing::received_reply{"ok", "1"});
}

TEST_CASE("channel: an unhandled event crashes the channel, unless handle_in handles the rest") {
  lesson l;
  auto client = l.s.connect();
  auto c = client.join("calc");
  c.push("divide");
  CHECK(c.expect_error());
  auto o = client.join("open");
  CHECK(o.call("divide")->status == "other");
  CHECK(o.call("add", R"({"n":1})")->response == "1");
  auto s = client.join("silent");
  s.push("anything");
  CHECK(s.expect_error());
}

TEST_CASE("channel: only a string can match a bound event") {
  lesson l;
  auto client = l.s.connect();
  auto c = client.join("open");
  client.send(R"([null,"77","open",["add"],{"n":1}])");
  CHECK(c.expect_reply("77")->status == "other");
}

TEST_CASE("channel: the error of a bound event is valid JSON, whatever the name of the field") {
  using std::string;
  for (string const& field : {string(), string("\x00\x1f\"\\", 4), string("täglich"), string(5000, 'x')})
    CHECK(phx::detail::invalid_field(field).valid());
}
