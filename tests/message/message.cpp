#include <phx/message/message.hpp>

#include <support/room.hpp>

using phx::json_ref;

TEST_CASE("json_ref: equal after unescaping, with the same type; null equals absent") {
  CHECK(json_ref{"\"1\""} == json_ref{R"("\u0031")"});
  CHECK(json_ref{"\"é\""} == json_ref{R"("\u00e9")"});
  CHECK(json_ref{R"("\/")"} == json_ref{"\"/\""});
  CHECK(json_ref{"null"} == json_ref{});
  CHECK(json_ref{"7"} == json_ref{"7"});
  CHECK_FALSE(json_ref{"\"1\""} == json_ref{"1"});
  CHECK_FALSE(json_ref{"1"} == json_ref{"1.0"});
  CHECK_FALSE(json_ref{"\"\""} == json_ref{"null"});
  CHECK_FALSE(json_ref{"\"\""} == json_ref{});
  CHECK_FALSE(json_ref{"\"null\""} == json_ref{"null"});
  CHECK_FALSE(json_ref{"\"a\""} == json_ref{"\"b\""});
  CHECK(json_ref{}.absent());
  CHECK(json_ref{}.null());
  CHECK_FALSE(json_ref{"null"}.absent());
  CHECK(json_ref{"null"}.null());
}

TEST_CASE("json_text: a value that is not a string has JSON and no text") {
  CHECK(phx::json_text{"a", "\"a\""}.is_string());
  CHECK(phx::json_text{"a", {}}.is_string());
  CHECK_FALSE(phx::json_text{{}, "7"}.is_string());
}

TEST_CASE("status: any word, compared by its text") {
  CHECK(phx::status::ok.text() == "ok");
  CHECK(phx::status::error.text() == "error");
  CHECK(phx::status("busy") == phx::status("busy"));
  CHECK_FALSE(phx::status("busy") == phx::status::ok);
  static_assert(phx::status("ok") == phx::status::ok);
}

TEST_CASE("message: a copy owns everything") {
  std::string text = R"("1""2"room:aeventroom:a"event"{"n":1})";
  phx::message m;
  auto const part = [&](std::size_t at, std::size_t n) { return std::string_view(text).substr(at, n); };
  m.join_ref = {part(0, 3)};
  m.ref = {part(3, 3)};
  m.topic = part(6, 6);
  m.event = part(12, 5);
  m.topic_name = {m.topic, part(17, 6)};
  m.event_name = {m.event, part(23, 7)};
  m.payload = phx::detail::payload_access::borrow(part(30, 7), false);
  phx::owned_message const owned = m.copy();
  phx::owned_message const again(owned);
  text.assign(text.size(), '?');
  phx::message const v = again.view();
  CHECK(v.join_ref.json == "\"1\"");
  CHECK(v.ref.json == "\"2\"");
  CHECK(v.topic == "room:a");
  CHECK(v.event == "event");
  CHECK(v.topic_name.json == "room:a");
  CHECK(v.event_name.json == "\"event\"");
  CHECK(v.payload.raw() == R"({"n":1})");
  CHECK(again.payload().raw() == R"({"n":1})");
}

TEST_CASE("close_message and error_message have the refs of their join") {
  phx::push const c = phx::close_message("room:a", {"\"1\""}, {"\"2\""});
  CHECK(c.event.text == phx::event::close);
  CHECK(c.join_ref.json == "\"1\"");
  CHECK(c.ref.json == "\"2\"");
  CHECK(c.payload.raw() == "{}");
  phx::push const e = phx::error_message("room:a");
  CHECK(e.event.text == phx::event::error);
  CHECK(e.payload.raw() == R"({"reason":"channel_crash"})");
}
